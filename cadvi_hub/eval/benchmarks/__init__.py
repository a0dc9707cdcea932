"""Benchmark sets: question files and upstream annotations → rows with embedded pictures; one file per set."""
