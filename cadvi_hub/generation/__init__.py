"""The one seam in front of every model: chat requests with images go in, replies come out, in order."""
