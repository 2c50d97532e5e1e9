"""How the review model is made: tokens, training examples, network, fitting."""
