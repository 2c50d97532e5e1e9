"""What arrives: sources, readers, and the plan made of them."""
