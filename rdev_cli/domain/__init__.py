"""What things are, and what is always true of them."""
