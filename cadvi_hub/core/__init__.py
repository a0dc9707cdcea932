"""What every room uses: records, errors, files, locks, bounded JSON, parquet, worker processes, images."""
