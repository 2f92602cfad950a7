"""What rdev does by the clock, while a server runs."""
