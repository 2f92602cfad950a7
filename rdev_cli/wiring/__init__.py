"""Who stands behind which port, and where settings come from."""
