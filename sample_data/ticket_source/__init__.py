"""Phrase banks and the grammar that turns them into support messages."""
