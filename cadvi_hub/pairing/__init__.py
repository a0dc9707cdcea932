"""Captions → nouns → pairs of images that share nouns."""
