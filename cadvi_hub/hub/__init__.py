"""Data sets and models to the Hub, with their cards; a Hub on this machine for trials and tests."""
