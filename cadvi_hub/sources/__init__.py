"""Readers of upstream files: one module per format, each a generator of records."""
