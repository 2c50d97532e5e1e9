"""Documents that the model cannot read at once: their tokens, the windows that cover them, what Claude is shown."""
