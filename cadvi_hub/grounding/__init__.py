"""Are the statements of a summary true of its images? Each one is looked up in the scene graphs of both."""
