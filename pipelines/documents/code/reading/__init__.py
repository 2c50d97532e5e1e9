"""Changes of code, out of diffs, folders and git repositories."""
