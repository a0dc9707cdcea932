"""Comparison visual instruction tuning (CaD-VI): data, training and evaluation for models that compare two images."""

__version__ = "0.1.0"
