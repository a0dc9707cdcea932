"""Pairs → summaries, conversations and questions: prompts, readers of replies, filters."""
