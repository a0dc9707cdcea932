"""From captions to nouns to pairs of images whose captions share nouns."""
