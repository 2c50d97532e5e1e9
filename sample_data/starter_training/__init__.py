"""How the starter model is made: tickets in, a tokenizer and a small Qwen3 out. Run by `train_starter_model`."""
