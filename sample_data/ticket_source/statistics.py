"""Numbers that say whether the documents are varied enough, and long and hard as asked.

In: documents. Out: lines of text. Near-copies are found with sketches: the smallest few hashes of a
document's five-word runs; two documents sharing most of their sketch share most of their runs.
"""

import hashlib
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sample_data.ticket_source.documents import Document

RUN_WORDS = 5
SKETCH_SIZE = 24
NEAR_COPY_OVERLAP = 0.6  # of the sketch
MIN_SENTENCE_WORDS = 6  # shorter ones ("Many thanks.") repeat in any mailbox


def sentences(text: str) -> list[str]:
    """Cut a text into sentences worth comparing."""
    parts = re.split(r"(?<=[.!?])\s+|\n+", text)
    return [part.strip() for part in parts if len(part.split()) >= MIN_SENTENCE_WORDS]


def word_runs(text: str) -> set[tuple[str, ...]]:
    """List the five-word runs of a text."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + RUN_WORDS]) for at in range(len(words) - RUN_WORDS + 1)}


def _sketch(runs: Iterable[tuple[str, ...]]) -> list[int]:
    hashes = (int.from_bytes(hashlib.blake2b(" ".join(run).encode(), digest_size=8).digest()) for run in runs)
    return sorted(hashes)[:SKETCH_SIZE]


def count_near_copies(documents: Sequence[Document]) -> int:
    """Count documents that share most of their sketch with an earlier one."""
    holders: dict[int, list[int]] = defaultdict(list)
    found = 0
    for number, document in enumerate(documents):
        sketch = _sketch(word_runs(document.text))
        shared = Counter(other for value in sketch for other in holders[value])
        found += bool(shared) and max(shared.values()) >= NEAR_COPY_OVERLAP * len(sketch)
        for value in sketch:
            holders[value].append(number)
    return found


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def describe(name: str, documents: Sequence[Document]) -> list[str]:
    """Describe one split in a few lines."""
    lengths = sorted(len(document.text.split()) for document in documents)
    every = [sentence for document in documents for sentence in sentences(document.text)]
    runs_total, runs_distinct = 0, set[tuple[str, ...]]()
    for document in documents:
        runs = word_runs(document.text)
        runs_total += len(runs)
        runs_distinct |= runs
    repeats = sum(count - 1 for count in Counter(every).values())
    hard = Counter(document.hardness for document in documents if document.hardness)
    over = {limit: sum(length > limit for length in lengths) / len(lengths) for limit in (500, 1000)}
    return [
        f"{name}: {len(documents)} documents, {sum(lengths)} words",
        f"  words per document: min {lengths[0]}, median {statistics.median(lengths):.0f}, "
        f"p90 {lengths[len(lengths) * 9 // 10]}, max {lengths[-1]}; "
        f"over 500: {over[500]:.1%}, over 1000: {over[1000]:.1%}",
        f"  classes: {_tally(Counter(document.label for document in documents))}",
        f"  hard: {sum(hard.values()) / len(documents):.1%} ({_tally(hard)})",
        f"  sentences of {MIN_SENTENCE_WORDS}+ words: {len(every)}, repeats of another: {repeats / len(every):.1%}",
        f"  distinct five-word runs: {len(runs_distinct)} ({len(runs_distinct) / runs_total:.1%} of all)",
        f"  near-copies of an earlier document: {count_near_copies(documents)}",
    ]


def describe_overlap(train: Sequence[Document], heldout: Sequence[Document]) -> str:
    """Say how much of the held-out wording was seen in training."""
    known = {sentence for document in train for sentence in sentences(document.text)}
    asked = [sentence for document in heldout for sentence in sentences(document.text)]
    return f"held-out sentences seen word for word in training: {sum(s in known for s in asked) / len(asked):.1%}"
