"""Where documents lie: folders and S3, listed and opened."""
