"""What things cost: the price book, and who pays for which second."""
