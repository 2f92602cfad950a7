"""The embedded runtime and forge: this machine."""
