"""How likely each label is of a document: a function of its text alone, so that every process and shape says the same.

In: a text and its labels. Out: the probability of each, and of everything else.
"""

import hashlib
from collections.abc import Sequence

# Of all labels together; the rest of the probability lies on other words.
MASS = 0.96875
# Other tokens than codes, as models have them among their likeliest.
OTHER_WORDS = ("The", "**", "I", "\n", "Answer", "This", "Based", "<", "Label", "It", "a", "b", "-", "Here", '"', "To")


def label_shares(text: str, labels: int) -> list[float]:
    """How the labels share it; never a round number."""
    digest = hashlib.sha256(text.encode()).digest()
    top, sureness = digest[0] % labels, 0.45 + 0.5 * digest[1] / 255
    weights = [1 + byte / 97 for byte in _bytes(digest, labels)]
    weights[top] = 0.0
    rest = sum(weights)
    return [sureness if place == top else (1 - sureness) * weight / rest for place, weight in enumerate(weights)]


def likeliest_tokens(text: str, codes: Sequence[str], count: int, *, has_codes: bool = True) -> list[tuple[str, float]]:
    """The likeliest tokens: codes, the first also with a space before it, and other words."""
    shares = [share * MASS for share in label_shares(text, len(codes))]
    told = dict(zip(codes, shares, strict=True)) if has_codes else {}
    if has_codes:  # many a tokenizer has two tokens for a letter
        first = max(told, key=lambda code: told[code])
        told[f" {first}"] = told[first] * 0.03125
        told[first] *= 0.96875
    spare = (1 - MASS) if has_codes else 0.9921875
    for place, word in enumerate(OTHER_WORDS):
        told[word] = spare * 0.5 ** (place + 1)
    return sorted(told.items(), key=lambda each: -each[1])[:count]


def _bytes(digest: bytes, count: int) -> list[int]:
    return [digest[place % len(digest)] for place in range(count)]
