"""Kubernetes, through a lean transport: nothing has to be installed in the cluster."""
