"""The tasks: what is asked about a document, and how an answer is read."""
