"""The wire: the same operations over HTTP. Nothing of it is loaded by any command but `rdev serve`."""
