"""Which items are accepted under a target or a budget, and whom to ask to find out."""
