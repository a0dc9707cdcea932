"""Two-image tuning: the mixture of data sets, lengths, batches, adapters, the trainer."""
