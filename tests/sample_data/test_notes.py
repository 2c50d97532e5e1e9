"""The committed sample notes are what the generator makes, and no one word gives their topics away."""

import gzip
import json
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

from pipelines.job.job_file import load_job
from sample_data.generate_notes import DEFAULT_SEED, HALVES, PER_TOPIC, generate
from sample_data.note_source.notes import HARD_SHARES, TOPICS, Note, load_bank, write_notes

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
NOTES = SAMPLE_DATA / "notes"


@cache
def half(name: str) -> list[dict[str, str | None]]:
    return [json.loads(line) for line in gzip.decompress((NOTES / name).read_bytes()).splitlines()]


@cache
def all_notes() -> list[dict[str, str | None]]:
    return [row for name in HALVES for row in half(name)]


def test_the_committed_notes_are_what_the_generator_makes(tmp_path: Path) -> None:
    generate(tmp_path, DEFAULT_SEED)
    assert {path.name for path in NOTES.iterdir()} == set(HALVES)
    for name in HALVES:
        assert gzip.decompress((tmp_path / name).read_bytes()) == gzip.decompress((NOTES / name).read_bytes())


def test_the_same_seed_gives_the_same_notes_and_another_seed_others() -> None:
    notes: list[Note] = list(write_notes(20, 1))
    assert notes == list(write_notes(20, 1)) != list(write_notes(20, 2))


def test_topics_are_equally_frequent_and_the_promised_share_is_hard() -> None:
    assert Counter(row["topic"] for row in all_notes()) == dict.fromkeys(TOPICS, PER_TOPIC)
    hard = Counter(row["hardness"] for row in all_notes() if row["hardness"])
    assert hard == {kind: round(share * PER_TOPIC) * len(TOPICS) for kind, share in HARD_SHARES.items()}


def test_no_note_is_written_twice_so_that_the_second_half_is_of_other_notes() -> None:
    assert len({row["text"] for row in all_notes()}) == len({row["id"] for row in all_notes()}) == 4 * PER_TOPIC
    assert len(half(HALVES[0])) == len(half(HALVES[1]))


def test_no_single_word_gives_a_topic_away() -> None:
    topics_of: dict[str, Counter[str | None]] = defaultdict(Counter)
    for row in all_notes():
        for word in set(re.findall(r"\w+", str(row["text"]).lower())):
            topics_of[word][row["topic"]] += 1
    for topic in TOPICS:
        telling = {word: of[topic] for word, of in topics_of.items() if of[topic] >= 0.9 * of.total()}
        word = max(telling, key=telling.__getitem__)
        assert telling[word] < 0.22 * PER_TOPIC, f"{word} stands in {telling[word]} notes of {topic}"


@pytest.mark.parametrize("topic", TOPICS)
def test_names_come_from_one_bank_for_all_topics(topic: str) -> None:
    """A name that one topic alone used would be learnt in the place of the matter."""
    text = json.dumps(load_bank(topic))
    names = [name for block in load_bank("names").values() for name in block.split("|") if name[0].isupper()]
    months = set(load_bank("names")["month"].split("|"))
    assert [name for name in names if name not in months and re.search(rf"\b{re.escape(name)}\b", text)] == []


def test_the_job_over_the_notes_asks_for_their_topics() -> None:
    job = load_job(SAMPLE_DATA / "jobs/notes.yaml")
    assert tuple(job.labels) == TOPICS
    assert job.evaluation is not None and job.evaluation.gold_column == "topic"
