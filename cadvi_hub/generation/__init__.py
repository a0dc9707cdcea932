"""The one seam to any model: an endpoint or a model in this process, with every reply stored."""
