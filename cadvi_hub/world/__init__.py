"""Drawn pictures with ground truth: scenes, captions, conversations and questions that stand in for upstream files."""
