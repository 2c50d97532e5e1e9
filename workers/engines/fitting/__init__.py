"""What an engine is to a machine and a prompt: where it fits, and what of the prompt it can keep."""
