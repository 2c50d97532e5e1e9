"""Chooses the tickets that are never trained on and fit the temperature.

The tickets are written from phrase banks, so tickets drawn at random share every phrase with the rest, and a
temperature fitted on them would promise too much for real new wording. Held back are therefore whole phrases:
all tickets in which a chosen phrase occurs, in any of its variants.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from sample_data.starter_training.tickets import Ticket

HELD_BACK_PER_LABEL = 80
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
# A phrase of one label: three words in a row, seen this often, nearly always under that label.
LEAST_COUNT = 8
LABEL_SHARE = 0.9
# A choice that takes out more than this is no single phrase.
LARGEST_PHRASE = 100

Trigram = tuple[str, str, str]


def split_for_calibration(tickets: Sequence[Ticket], seed: int) -> tuple[list[Ticket], list[Ticket]]:
    """A part to train on, and a part with phrases that the first does not contain."""
    generator = random.Random(seed)
    places: defaultdict[Trigram, set[int]] = defaultdict(set)
    for place, ticket in enumerate(tickets):
        for trigram in _trigrams(ticket.text):
            places[trigram].add(place)
    held: set[int] = set()
    for label in sorted({ticket.label for ticket in tickets}):
        own = [place for place, ticket in enumerate(tickets) if ticket.label == label]
        while len(held.intersection(own)) < HELD_BACK_PER_LABEL:
            sentence = generator.choice(SENTENCE_END.split(tickets[generator.choice(own)].text))
            telling = [
                places[trigram] for trigram in _trigrams(sentence) if _is_telling(places[trigram], tickets, label)
            ]
            found: set[int] = set().union(*telling)
            if len(found) <= LARGEST_PHRASE:
                held |= found
    train = [ticket for place, ticket in enumerate(tickets) if place not in held]
    return train, [tickets[place] for place in sorted(held)]


def _trigrams(text: str) -> set[Trigram]:
    words = re.findall(r"[^\W\d_]+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False))


def _is_telling(places: set[int], tickets: Sequence[Ticket], label: str) -> bool:
    labels = Counter(tickets[place].label for place in places)
    return len(places) >= LEAST_COUNT and labels[label] >= LABEL_SHARE * len(places)
