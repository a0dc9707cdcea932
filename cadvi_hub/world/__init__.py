"""Drawn pictures with ground truth: scenes, captions, conversations and questions that stand in for upstream files."""

from cadvi_hub.world.settings import WorldSettings

__all__ = ["WorldSettings"]
