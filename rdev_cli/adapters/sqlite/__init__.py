"""rdev's memory in one SQLite file."""
