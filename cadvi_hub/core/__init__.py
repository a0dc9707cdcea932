"""What every room stands on: records, errors, files, bounded JSON, worker processes, images."""
