"""The hand: commands for a person and for scripts."""
