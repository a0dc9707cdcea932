"""What is evaluated: local and served vision-language models, and baselines."""
