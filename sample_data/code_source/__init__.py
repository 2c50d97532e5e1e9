"""Pieces of made-up programs, and the grammar that makes a source tree and diffs of them."""
