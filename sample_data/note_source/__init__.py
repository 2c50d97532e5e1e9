"""Writes short news-like notes in four topics from phrase banks."""
