"""Doubtful items on their way to Claude and back."""
