"""From captions to nouns to pairs of images whose captions share nouns."""

from cadvi_hub.pairing.settings import PairSettings

__all__ = ["PairSettings"]
