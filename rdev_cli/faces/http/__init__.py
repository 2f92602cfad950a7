"""How rdev is asked over HTTP."""
