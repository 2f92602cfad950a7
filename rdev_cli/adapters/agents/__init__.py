"""Coding agents: their command lines and their streams."""
