"""Records → sharded parquet with embedded images: read, pair, annotate, filter, converse, write."""
