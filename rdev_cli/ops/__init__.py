"""What rdev can do: one plain function for each operation."""
