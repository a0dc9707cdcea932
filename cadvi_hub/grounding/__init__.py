"""Are a summary's statements true of its images? Each one is looked up in the scene graphs of both."""
