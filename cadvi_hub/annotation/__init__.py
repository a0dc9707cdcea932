"""From pairs to summaries, conversations and questions: prompts, readers of replies, filters."""
