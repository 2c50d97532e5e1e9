"""What pretends to be Claude: request params in, a message with usage (or a refusal of the request) out.

Knows nothing of HTTP, batches or storage; it is told the prompt cache and the fault to act out.
"""
