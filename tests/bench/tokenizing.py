"""What a document's tokens cost the driver: whole texts to the library, against words that are looked up.

``python -m tests.bench.tokenizing``. Three kinds of documents, the starter model's tokenizer: those of
`tests.bench.growth`, whose words come again and again; the sample tickets, which are language; and texts of which
hardly a word comes twice. In batches as planning makes them, from nothing known on; "later" is the last fifth alone.
CPU microseconds a document, all threads, the least of three rounds; the ids are compared, too.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tests.bench.children import REPOSITORY, busy_cores
from tests.bench.growth import write_documents
from tests.bench.provenance import as_lines, markdown, provenance
from workers.engines.tokens import TextTokenizer
from workers.engines.word_tokens import TokenIds, WordTokens

_ITEMS, _BATCH, _ROUNDS, _LATER = 10_240, 512, 3, 0.2
_CODE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789    "
_TRAIN = REPOSITORY / "sample_data/tickets/train.jsonl.gz"

Encode = Callable[[list[str]], list[TokenIds]]


def main() -> None:
    """Measure, compare, print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    facts = provenance(busy_cores())
    tokenizer_json = (REPOSITORY / "sample_data/starter_model/tokenizer.json").read_text(encoding="utf-8")
    cells = [_row(name, texts, tokenizer_json) for name, texts in _kinds().items()]
    columns = ["documents", "number", "tokens each", "words new", "later"]
    columns += ["whole, us", "by words, us", "whole, later, us", "by words, later, us"]
    Console(highlight=False, width=160, soft_wrap=True).print(f"{markdown(columns, cells)}\n\n{as_lines(facts)}")


def _kinds() -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory(prefix="sluice-tokenizing-") as name:
        write_documents(Path(name, "documents"), _ITEMS)
        (path,) = Path(name, "documents").iterdir()
        growth = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    with gzip.open(_TRAIN, "rt", encoding="utf-8") as lines:
        tickets = [json.loads(line)["text"] for line in lines][:_ITEMS]
    draw = random.Random(0)
    codes = ["".join(draw.choices(_CODE_CHARACTERS, k=400)) for _ in range(_ITEMS // 4)]
    return {"of `tests.bench.growth`": growth, "the sample tickets": tickets, "codes": codes}


def _row(name: str, texts: list[str], tokenizer_json: str) -> list[object]:
    library = TextTokenizer(tokenizer_json)
    whole: Encode = library._encode_whole
    asked = 0

    def counting(words: list[str]) -> list[TokenIds]:
        nonlocal asked
        asked += sum(text.strip().count(" ") + 1 for text in words)
        return whole(words)

    batches = [texts[first : first + _BATCH] for first in range(0, len(texts), _BATCH)]
    later = batches[-round(len(batches) * _LATER) :]
    known, counts = WordTokens(counting), []
    for batch in batches:
        before = asked
        assert [ids.tolist() for ids in known.encode(batch)] == [ids.tolist() for ids in whole(batch)]
        counts.append(asked - before)
    words = [sum(text.count(" ") + 1 for text in batch) for batch in batches]
    new = [sum(counts[place:]) / sum(words[place:]) for place in (0, -len(later))]
    seconds = [
        [_seconds(whole, batches, later), _seconds(WordTokens(whole).encode, batches, later)] for _ in range(_ROUNDS)
    ]
    least = [[min(each[way][part] for each in seconds) for way in (0, 1)] for part in (0, 1)]
    tokens = sum(map(len, whole(texts[:_BATCH]))) / _BATCH
    shown = [f"{1e6 * value / count:.0f}" for part, count in zip(least, (len(texts), sum(map(len, later))), strict=True)
             for value in part]  # fmt: skip
    return [name, f"{len(texts):,}", f"{tokens:.0f}", *(f"{share:.0%}" for share in new), *shown]


def _seconds(encode: Encode, batches: list[list[str]], later: list[list[str]]) -> tuple[float, float]:
    """Of processor time: of all batches, and of the later ones alone."""
    started = time.process_time()
    for batch in batches[: -len(later)]:
        encode(batch)
    between = time.process_time()
    for batch in later:
        encode(batch)
    ended = time.process_time()
    return ended - started, ended - between


if __name__ == "__main__":
    main()
