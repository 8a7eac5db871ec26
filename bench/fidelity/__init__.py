"""Lab against kind."""
