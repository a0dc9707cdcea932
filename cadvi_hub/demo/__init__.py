"""The whole method at small scale: a base model of 3 million parameters and the run over the drawn world."""
