"""What a run's labels teach, and whether that is any good: held-back labels, gate, card. Knows nothing of torch."""
