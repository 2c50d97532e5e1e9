"""A first tier over HTTP: a server that tells how likely each label is, in the engines' place."""
