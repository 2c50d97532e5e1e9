"""What a person sees of a command, and the keys they press."""
