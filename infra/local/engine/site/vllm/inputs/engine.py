"""As vLLM's module of this name, as far as it is used."""


def tokens_input(tokens: list[int]) -> list[int]:
    """A prompt is its tokens."""
    return tokens
