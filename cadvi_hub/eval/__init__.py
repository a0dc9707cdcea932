"""Benchmarks as lighteval tasks: question sets, models, readings of answers, scores, judges."""
