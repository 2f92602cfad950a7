"""How the world is reached: one provider for each module or folder."""
