"""The one seam to any model: an endpoint or a model in this process, with every reply stored."""

from cadvi_hub.generation.chat import ChatRequest, Decoding, Failed, Generator, Reply
from cadvi_hub.generation.settings import EndpointSettings, SamplingSettings

__all__ = ["ChatRequest", "Decoding", "EndpointSettings", "Failed", "Generator", "Reply", "SamplingSettings"]
