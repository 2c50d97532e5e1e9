"""How sure the engine is, and what that decides."""
