"""The embedded world: pictures drawn from scene graphs, with captions, conversations and questions true of them."""
