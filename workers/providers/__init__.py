"""Claude, over its own API and over Bedrock."""
