"""Data sets and models to the Hub, with their cards; a Hub on this machine for trials and tests."""

from cadvi_hub.hub.settings import PublishSettings

__all__ = ["PublishSettings"]
