"""What people look at: the report of evaluations, the live page, the static site."""
