"""Code cut into pieces that a model can read."""
