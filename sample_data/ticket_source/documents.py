"""Documents: how many of each class and hardness, and the text of each.

In: seed, split, how many per class. Out: documents in a fixed order, no two alike, all within the length
limits. Knows nothing of files.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from sample_data.ticket_source.forms import FORMS, dress
from sample_data.ticket_source.hardness import HARD_KINDS, WRITERS
from sample_data.ticket_source.longform import earlier_thread, meeting_notes, paste_log
from sample_data.ticket_source.phrasebook import Author, Split, class_names
from sample_data.ticket_source.stories import PERSONAS, draw_case, draw_length, tell
from sample_data.ticket_source.world import draw_facts

MIN_WORDS, MAX_WORDS = 30, 1500
HARD_SHARE = 0.15
LONG_FROM_WORDS = 260  # above it a message gets longer by a thread, a log or minutes rather than by talk


@dataclass(frozen=True)
class Document:
    """One labelled document, and the facts that envelopes around it (mail headers, CRM columns) need."""

    id: str
    text: str
    label: str
    hardness: str | None
    facts: dict[str, str]


def write_easy(author: Author, label: str, form: str | None = None) -> str:
    """Write an ordinary document of a class."""
    rng = author.rng
    words, persona = draw_length(rng), rng.choice(PERSONAS)
    case = draw_case(label, author.split, rng)
    form = form or rng.choice(FORMS)
    if words < LONG_FROM_WORDS:
        return dress(author, form, persona, tell(author, case, persona, words), case.subject)
    shape = rng.choice(("thread", "log", "minutes", "talk"))
    if shape == "minutes":
        return meeting_notes(author, case, words)
    own_words = words if shape == "talk" else rng.randint(90, 200)
    text = dress(author, form, persona, tell(author, case, persona, own_words), case.subject)
    left = words - len(text.split())
    if shape == "log" or left > 500:
        log = paste_log(author, label, min(left, rng.randint(150, 600)))
        text += "\n\n" + rng.choice(("Log:", "From the log:", "Attachment, as text:")) + "\n" + log
        left = words - len(text.split())
    if left > 60:
        text += "\n\n" + earlier_thread(author, case, left)
    return text


def write_document(split: Split, label: str, hardness: str | None, rng: random.Random) -> tuple[str, dict[str, str]]:
    """Write one document and give the facts it was written from."""
    while True:
        facts = draw_facts(split, rng)
        author = Author(facts, split, rng)
        text = WRITERS[hardness](author, label) if hardness else write_easy(author, label)
        if MIN_WORDS <= len(text.split()) <= MAX_WORDS:
            return text, facts


def plan_documents(per_class: int, rng: random.Random) -> list[tuple[str, str | None]]:
    """List (class, hardness) for every document: classes equal, every kind of hardness equally often."""
    hard_count = round(per_class * HARD_SHARE)
    planned: list[tuple[str, str | None]] = []
    for turn, label in enumerate(class_names()):
        planned += [(label, HARD_KINDS[(turn * hard_count + at) % len(HARD_KINDS)]) for at in range(hard_count)]
        planned += [(label, None)] * (per_class - hard_count)
    rng.shuffle(planned)
    return planned


def write_split(split: Split, per_class: int, seed: int) -> Iterator[Document]:
    """Write all documents of a split; ids are running numbers, formats may rename them."""
    rng = random.Random(f"{seed}:{split}")
    seen: set[str] = set()
    for number, (label, hardness) in enumerate(plan_documents(per_class, rng), 1):
        text, facts = write_document(split, label, hardness, rng)
        while text in seen:
            text, facts = write_document(split, label, hardness, rng)
        seen.add(text)
        yield Document(f"{split}-{number:05d}", text, label, hardness, facts)
