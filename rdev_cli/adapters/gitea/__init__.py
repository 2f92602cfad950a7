"""Gitea: repositories, accounts and pull requests through its API, commits through git."""
