"""Where the values of credentials are kept."""
