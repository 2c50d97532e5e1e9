"""A first tier over HTTP, simulated: the shapes of Ollama, of hosted chat servers and of /v1/systemone, with faults."""
