"""Readers of upstream files: one module per format, each a generator of records."""

from cadvi_hub.sources.settings import SourceSettings

__all__ = ["SourceSettings"]
