"""How rdev is asked and how it answers."""
