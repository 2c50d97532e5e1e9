"""Small labelled samples, and the programs that make them."""
