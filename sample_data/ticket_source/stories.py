"""What a document says: the case of one class, told at some length by somebody.

In: an author (facts, split, random generator) and a class. Out: paragraphs of sentences, no greeting and
no layout. Knows nothing of hardness, message forms or files.
"""

import random
from dataclasses import dataclass
from typing import Any

from sample_data.ticket_source.phrasebook import Author, Split, class_names, load_bank

PERSONAS = ("terse", "chatty", "angry", "polite", "lawyerly", "plain", "plain")

# The median message has about a hundred words; the tail is drawn apart, so that it reaches 1,500.
MEDIAN_WORDS = 96  # greeting, subject and signature add the rest
WORDS_SIGMA = 0.58
TAIL_SHARE = 0.035
TAIL_WORDS = (480, 1380)

CONTRACTING = {"terse", "chatty", "angry", "plain"}
CONNECTED_SHARE = 0.3
CONNECTIVES = (
    "Also,",
    "And",
    "Besides,",
    "To be fair,",
    "Mind you,",
    "For the record,",
    "Incidentally,",
    "Then again,",
)
PLAIN_STARTS = {"The", "We", "My", "Our", "It", "There", "Your", "A", "All", "On", "In", "This", "They", "At"}

# Remarks and denials of these classes would contradict the case: nobody signed in writes that the login is down.
CLASHES = {
    "outage": {"account_access", "bug_report"},
    "cancellation": {"sales_question", "feature_request"},
    "refund": {"cancellation"},
    "sales_question": {"cancellation"},
}


@dataclass(frozen=True)
class Case:
    """One scenario of a class, as phrase blocks."""

    label: str
    subject: str
    core: str
    detail: str
    ask: str


def draw_case(label: str, split: Split, rng: random.Random) -> Case:
    """Choose a scenario of a class among those the split may use."""
    bank = load_bank(label)
    open_ones = [s for s in bank["scenarios"].values() if s.get("split", split) == split]
    chosen = rng.choice(open_ones)
    return Case(label, chosen["subject"], chosen["core"], chosen["detail"], bank["ask"])


def draw_length(rng: random.Random) -> int:
    """Draw how many words a document should have."""
    if rng.random() < TAIL_SHARE:
        return rng.randint(*TAIL_WORDS)
    return int(min(480, max(28, rng.lognormvariate(0, WORDS_SIGMA) * MEDIAN_WORDS)))


def count_words(sentences: list[str]) -> int:
    """Count words over sentences."""
    return sum(len(sentence.split()) for sentence in sentences)


def fitting_others(label: str) -> list[str]:
    """List the classes that may be mentioned beside a case of this class."""
    return [name for name in class_names() if name != label and name not in CLASHES.get(label, ())]


def draw_asides(author: Author, label: str, count: int) -> list[str]:
    """Write remarks that use the words of other classes without asking for anything."""
    chosen = author.rng.sample(fitting_others(label), count)
    return [line for name in chosen for line in author.draw(load_bank(name)["aside"], disjoint=True)]


def draw_fillers(author: Author, label: str, persona: str, words: int) -> list[str]:
    """Write what surrounds a case in a real message, up to a number of words."""
    shared: dict[str, Any] = load_bank("shared")
    rng = author.rng
    sources = ["usage", "context", "background", "aside", "aside"] + ["digression"] * (persona == "chatty")
    written: list[str] = []
    misses = 0
    while count_words(written) < words and misses < 8:
        source = rng.choice(sources)
        if source == "aside":
            drawn = draw_asides(author, label, 1)
        elif source == "background":
            drawn = author.draw(author.facts["background"])
        else:
            drawn = author.draw(shared[source])
        misses += not drawn
        written += [connect(sentence, rng) for sentence in drawn]
    return written


def connect(sentence: str, rng: random.Random) -> str:
    """Join a side remark to what stands before it, now and then, as people do."""
    first, _, rest = sentence.partition(" ")
    if first not in PLAIN_STARTS or rng.random() > CONNECTED_SHARE:
        return sentence
    return f"{rng.choice(CONNECTIVES)} {first.lower()} {rest}"


def tell(author: Author, case: Case, persona: str, words: int) -> list[list[str]]:
    """Tell a case in paragraphs of about `words` words in all."""
    rng, shared = author.rng, load_bank("shared")
    author.contracts = author.contracts and persona in CONTRACTING
    core = author.draw(case.core)
    opening = author.draw(shared["opening"][persona], 1 + (words > 150 and persona != "terse")) if words > 50 else []
    asking = author.draw(case.ask, rng.choice((1, 1, 1, 2) if words > 60 else (0, 1, 1)))
    closing = author.draw(shared["closing"][persona]) if words > 70 else []
    left = words - count_words(core + opening + asking + closing)
    details: list[str] = []
    while left > 12 and len(details) < 5:
        drawn = author.draw(case.detail)
        if not drawn:
            break
        details += drawn
        left -= count_words(drawn)
        if len(details) >= 2 and rng.random() < 0.45:
            break
    fillers = draw_fillers(author, case.label, persona, left) if left > 8 else []
    cut = rng.randint(0, len(fillers)) if rng.random() < 0.7 else 0
    before, after = fillers[:cut], fillers[cut:]
    if rng.random() < 0.15:
        paragraphs = [opening + asking + core, details + fillers, closing]
    elif rng.random() < 0.4:
        paragraphs = [opening, before + core + details, after, asking + closing]
    else:
        paragraphs = [opening + before, core + details, after + asking, closing]
    return [part for paragraph in paragraphs for part in split_paragraph(paragraph, rng)]


def split_paragraph(sentences: list[str], rng: random.Random) -> list[list[str]]:
    """Cut a long paragraph where a writer would press return."""
    parts: list[list[str]] = []
    while sentences:
        size = rng.randint(3, 6)
        parts.append(sentences[:size])
        sentences = sentences[size:]
    return parts


def join_paragraphs(paragraphs: list[list[str]], gap: str = "\n\n") -> str:
    """Set paragraphs as text."""
    return gap.join(" ".join(paragraph) for paragraph in paragraphs if paragraph)
