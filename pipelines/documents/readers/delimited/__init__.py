"""Rows of text with a delimiter between fields: how a file is written, and reading it."""
