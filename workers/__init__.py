"""Whatever answers a prompt: vLLM engines on Ray, and Claude. The only importers of vLLM, Ray and anthropic."""
