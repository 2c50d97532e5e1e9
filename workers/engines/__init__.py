"""Models on vLLM, spread over Ray."""
