"""A floor below the other adapters: what more than one of them needs."""
