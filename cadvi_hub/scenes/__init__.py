"""The embedded world: pictures drawn from scene graphs, with captions, conversations and questions that are true of them."""
