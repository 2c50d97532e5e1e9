def tokens_input(tokens: list[int]) -> list[int]:
    return tokens
