"""What the stand-in answers: drawn from the prompt's tokens, or, with an answer key, right as often as it is sure.

Knows the two frames that documents and code stand in (`pipelines/tasks/prompts`), nothing of vLLM.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pipelines.documents.code.shown import read_shown

# Of the label that an answer gives: about half the answers are doubtful.
_SURE, _DOUBTFUL = 0.97, 0.6
_MOST_DOUBT = 0.6  # with an answer key: most answers are sure, few are hardly better than a guess
_ALL = 0.999  # what the labels share; the rest is for all other tokens
_REVIEWS_WITH_A_FINDING = 0.5
_LISTED = re.compile(r"^([A-Z]{2})\. ", re.MULTILINE)


class Answers:
    """The answers of one model's stand-in; its tokenizer is read only if a prompt's text matters."""

    def __init__(self, weights: str, answer_key: str | None) -> None:
        self._weights = weights
        self._labels = {} if answer_key is None else _read_key(Path(answer_key))
        self._lengths: dict[int, int] = {}  # of codes, in letters

    def logprobs(self, prompt: Sequence[int], codes: Sequence[int]) -> Sequence[float]:
        """Log-probabilities of the codes, in their order; of several requests about a prompt, each tells its own."""
        if self._is_of_two_letters(codes[0]):
            listed = self._listed_codes(prompt)
            first = listed.index(codes[0])
            return self._all_logprobs(prompt, listed)[first : first + len(codes)]
        return self._all_logprobs(prompt, codes)

    def _all_logprobs(self, prompt: Sequence[int], codes: Sequence[int]) -> Sequence[float]:
        known = self._known_code(prompt, codes) if self._labels else None
        if known is None:
            drawn, which = divmod(_number(prompt), len(codes))
            return _shared_out(len(codes), which, (_SURE, _DOUBTFUL)[drawn % 2])
        draw = _draw(prompt)
        likely = _ALL - _MOST_DOUBT * draw.random() ** 4
        others = [code for code in range(len(codes)) if code != known]
        return _shared_out(len(codes), known if draw.random() < likely else draw.choice(others), likely)

    def review(self, prompt: Sequence[int], schema: Mapping[str, Any]) -> str:
        """An answer that obeys the schema of a review."""
        draw = _draw(prompt)
        shown = self._text(prompt).partition("\n<code>\n")[2].rpartition("\n</code>")[0]
        added = [
            (file.path, line.number)
            for file in read_shown(shown).files
            for hunk in file.hunks
            for line in hunk.lines
            if line.sign == "+"
        ]
        if not added or draw.random() >= _REVIEWS_WITH_A_FINDING:
            return json.dumps({"findings": []})
        path, line = draw.choice(added)
        choices = schema["properties"]["findings"]["items"]["properties"]
        finding = {
            "path": path,
            "line": line,
            "end_line": line,
            "category": draw.choice(choices["category"]["enum"]),
            "severity": draw.choice(choices["severity"]["enum"]),
            "message": "Found by a stand-in, which understands no code.",
            "suggestion": "",
        }
        return json.dumps({"findings": [finding]})

    def _known_code(self, prompt: Sequence[int], codes: Sequence[int]) -> int | None:
        """The place among the codes of the label that the key holds for the prompt's document."""
        before, _, rest = self._text(prompt).partition("\n<document>\n")
        document, _, after = rest.rpartition("\n</document>\n")
        label = self._labels.get(hashlib.sha256(document.encode()).hexdigest())
        lines = [*before.splitlines(), *after.splitlines()]  # one question stands behind the document
        for place, code in enumerate(codes):
            listed = f"{self._text([code]).strip()}. {label}"
            if any(line == listed or line.startswith(f"{listed}:") for line in lines):
                return place
        return None

    def _is_of_two_letters(self, code: int) -> bool:
        if code not in self._lengths:
            has_text = Path(self._weights, "tokenizer.json").is_file()  # a test may give none
            self._lengths[code] = len(self._text([code]).strip()) if has_text else 1
        return self._lengths[code] > 1

    def _listed_codes(self, prompt: Sequence[int]) -> list[int]:
        """All codes that a prompt names, as it lists them."""
        before = self._text(prompt).partition("\n<document>\n")[0]
        return [self._tokenizer.encode(code, add_special_tokens=False).ids[0] for code in _LISTED.findall(before)]

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(str(Path(self._weights, "tokenizer.json")))


@lru_cache(maxsize=4_096)
def _shared_out(codes: int, best: int, likely: float) -> tuple[float, ...]:
    """Log-probabilities of so many codes, one of them the best."""
    rest = math.log(max((_ALL - likely) / (codes - 1), 1e-9))
    return tuple(math.log(likely) if code == best else rest for code in range(codes))


def _number(prompt: Sequence[int]) -> int:
    """The same for the same prompt; in less time than a generator of random numbers takes to begin."""
    return zlib.crc32(struct.pack(f"{len(prompt)}i", *prompt))


def _draw(prompt: Sequence[int]) -> random.Random:
    return random.Random(_number(prompt))  # noqa: S311  # the same prompt, the same answer


def _read_key(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    return {entry["text_sha256"]: entry["answer"]["label"] for entry in entries}
