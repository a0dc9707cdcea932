"""Records → sharded parquet with embedded images: read, pair, annotate, filter, converse, write."""

from cadvi_hub.builder.settings import BuildSettings

__all__ = ["BuildSettings"]
