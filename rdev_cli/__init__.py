"""rdev: runs coding agents and plain commands in isolated environments."""

__version__ = "0.1.0"
