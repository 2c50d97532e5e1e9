"""What a run comes to, for people."""
