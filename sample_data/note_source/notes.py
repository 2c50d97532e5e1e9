"""Notes: how many of each topic and hardness, and the text of each.

In: a seed, how many per topic. Out: notes in a fixed order, no two alike. Phrases are resolved as those of the tickets
are. Knows nothing of files.

A hard note is still one that a careful reader gets right: its topic is what its news is about, whatever words it
borrows.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sample_data.ticket_source.phrasebook import expand

TOPICS = ("world", "sport", "business", "science")
# Of all notes. Set by what they are to show: a small model that has been taught some hundred must still have doubts.
HARD_SHARES = {"crossing": 0.14, "mixed": 0.10, "figurative": 0.06, "vague": 0.06}
HEADLINE_SHARE, DATELINE_SHARE = 0.25, 0.25
_SCALES, _CURRENCIES = ("million", "million", "billion"), ("euros", "crowns")

_PHRASES = Path(__file__).parent / "phrases"


@dataclass(frozen=True)
class Note:
    """One labelled note."""

    id: str
    text: str
    topic: str
    hardness: str | None


@cache
def load_bank(name: str) -> dict[str, Any]:
    """Read one file of `phrases/`."""
    loaded = yaml.safe_load((_PHRASES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def draw_facts(rng: random.Random) -> dict[str, str]:
    """Draw who, where, when and how much; the same names for every topic, so that none tells of one."""
    names: dict[str, list[str]] = {key: block.split("|") for key, block in load_bank("names").items()}
    facts = {key: rng.choice(options) for key, options in names.items()}
    for key in ("city", "country", "house"):
        facts[f"{key}2"] = rng.choice([name for name in names[key] if name != facts[key]])
    return facts | {
        "person": f"{facts['first']} {facts['surname']}",
        "small": rng.choice(("two", "three", "four", "five")),
        "n": str(rng.randint(6, 19)),
        "hundreds": rng.choice((str(rng.randint(11, 98) * 10), f"{rng.randint(1, 9)},{rng.randint(0, 9)}00")),
        "pct": f"{rng.randint(2, 68)} per cent",
        "money": f"{rng.randint(2, 900)} {rng.choice(_SCALES)} {rng.choice(_CURRENCIES)}",
        "year": str(rng.randint(1988, 2021)),
    }


class _Writer:
    """Writes one note: the same facts throughout, no phrase twice."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self._facts, self._used = rng, draw_facts(rng), set[str]()

    def lines(self, block: str, count: int = 1) -> list[str]:
        fresh = [phrase for phrase in block.strip().split("\n") if phrase not in self._used]
        chosen = self.rng.sample(fresh, min(count, len(fresh)))
        self._used.update(chosen)
        return [expand(phrase, self._facts, self.rng) for phrase in chosen]

    def neutral(self, most: int) -> list[str]:
        return self.lines(load_bank("shared")["neutral"], self.rng.randint(0, most))

    def told(self, topic: str, kind: str = "scenarios") -> list[str]:
        """A piece of news: what happened, and one or two details of it."""
        case = self.rng.choice(list(load_bank(topic)[kind].values()))
        return self.lines(case["lead"]) + self.lines(case["detail"], self.rng.randint(1, 2))

    def dressed(self, sentences: list[str]) -> str:
        text, drawn = " ".join(sentences), self.rng.random()
        if drawn < HEADLINE_SHARE:
            return f"{self.lines(load_bank('shared')['headline'])[0]}\n\n{text}"
        if drawn < HEADLINE_SHARE + DATELINE_SHARE:
            return f"{self._facts['city2'].upper()}, {self._facts['weekday']} - {text}"
        return text


def _easy(writer: _Writer, topic: str) -> list[str]:
    return writer.told(topic) + writer.neutral(1)


def _crossing(writer: _Writer, topic: str) -> list[str]:
    """News of this topic among the people and things of another."""
    return writer.told(topic, "crossing") + writer.neutral(1)


def _mixed(writer: _Writer, topic: str) -> list[str]:
    """Two matters; one is old or beside the point, and the note says which."""
    shared, rng = load_bank("shared"), writer.rng
    other = rng.choice([name for name in TOPICS if name != topic])
    news, besides = writer.told(topic), writer.told(other)[:2]
    if rng.random() < 0.5:
        return news + writer.lines(shared["second"]) + besides[:1]
    return writer.lines(shared["earlier"]) + besides + writer.lines(shared["news"]) + news


def _figurative(writer: _Writer, topic: str) -> list[str]:
    """In the words of another topic throughout."""
    return writer.lines(load_bank(topic)["figurative"]) + writer.neutral(2)


def _vague(writer: _Writer, topic: str) -> list[str]:
    """Its matter is never named."""
    return writer.lines(load_bank(topic)["vague"]) + writer.neutral(2)


_WRITERS: dict[str | None, Callable[[_Writer, str], list[str]]] = {
    None: _easy,
    "crossing": _crossing,
    "mixed": _mixed,
    "figurative": _figurative,
    "vague": _vague,
}


def write_note(topic: str, hardness: str | None, rng: random.Random) -> str:
    """Write one note."""
    writer = _Writer(rng)
    return writer.dressed(_WRITERS[hardness](writer, topic))


def write_notes(per_topic: int, seed: int) -> Iterator[Note]:
    """Write all notes, topics and kinds in a drawn order; ids are running numbers."""
    rng = random.Random(f"{seed}:notes")
    planned: list[tuple[str, str | None]] = []
    for topic in TOPICS:
        kinds = [kind for kind, share in HARD_SHARES.items() for _ in range(round(share * per_topic))]
        planned += [(topic, kind) for kind in kinds] + [(topic, None)] * (per_topic - len(kinds))
    rng.shuffle(planned)
    seen: set[str] = set()
    for number, (topic, hardness) in enumerate(planned, 1):
        text = write_note(topic, hardness, rng)
        while text in seen:
            text = write_note(topic, hardness, rng)
        seen.add(text)
        yield Note(f"note-{number:04d}", text, topic, hardness)
