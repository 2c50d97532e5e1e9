"""Documents out of files, one reader a format."""
