"""As vLLM's module of this name, as far as it is used."""


def tokens_input(tokens: list[int]) -> list[int]:
    """Make a prompt of token ids."""
    return tokens
