"""Kubernetes: pods, the runner in them, and the lean transport to reach both."""
