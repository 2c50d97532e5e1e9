"""The committed sample tickets are what the generator makes, and are shaped as promised."""

import csv
import gzip
import json
from collections import Counter
from email import message_from_bytes, policy
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from sample_data.generate_tickets import DEFAULT_SEED, generate
from sample_data.ticket_source.documents import HARD_SHARE, MAX_WORDS, MIN_WORDS, Document, write_split
from sample_data.ticket_source.hardness import HARD_KINDS
from sample_data.ticket_source.heldout_files import LAYOUT
from sample_data.ticket_source.statistics import count_near_copies

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
TICKETS = SAMPLE_DATA / "tickets"
LABELS = list(yaml.safe_load((TICKETS / "labels.yaml").read_text(encoding="utf-8"))["labels"])

Made = tuple[Path, list[Document], list[Document]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    out = tmp_path_factory.mktemp("made") / "tickets"
    train, heldout = generate(out, DEFAULT_SEED)
    return out, train, heldout


@cache
def gold_rows() -> list[dict[str, str]]:
    with (TICKETS / "gold.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def json_rows(path: Path) -> list[dict[str, str]]:
    data = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()]


def content(path: Path) -> object:
    """What must not change; compressors may differ in their bytes between machines."""
    if path.suffix == ".gz" and "truncated" not in path.name:
        return gzip.decompress(path.read_bytes())
    if path.name == "crm-export.parquet":
        return pq.read_table(path)
    return path.read_bytes()


def test_the_same_seed_gives_the_same_documents_and_another_seed_others() -> None:
    assert list(write_split("heldout", 20, 1)) == list(write_split("heldout", 20, 1))
    assert list(write_split("heldout", 20, 1)) != list(write_split("heldout", 20, 2))


@pytest.mark.prove
def test_the_committed_files_are_what_the_generator_makes(made: Made) -> None:
    out = made[0]
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    committed = {path.relative_to(TICKETS) for path in TICKETS.rglob("*") if path.is_file()}
    assert committed == {*files, Path("labels.yaml")}
    differing = [str(path) for path in files if content(out / path) != content(TICKETS / path)]
    assert differing == []


@pytest.mark.prove
def test_the_committed_broken_files_are_what_the_generator_makes(made: Made) -> None:
    folder = made[0].parent / "broken"
    names = {path.name for path in folder.iterdir()}
    assert names | {"README.md"} == {path.name for path in (SAMPLE_DATA / "broken").iterdir()}
    compressed = {"truncated.jsonl.gz", "truncated.parquet"}
    for name in sorted(names - compressed):
        assert (folder / name).read_bytes() == (SAMPLE_DATA / "broken" / name).read_bytes(), name


def test_every_broken_file_is_explained() -> None:
    folder = SAMPLE_DATA / "broken"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in readme for path in folder.iterdir() if path.name != "README.md")


def test_train_has_equal_classes_and_the_promised_share_of_hard_documents() -> None:
    rows = json_rows(TICKETS / "train.jsonl.gz")
    assert len(rows) == 9000
    assert Counter(row["label"] for row in rows) == dict.fromkeys(LABELS, 900)
    hard = Counter(row["hardness"] for row in rows if row["hardness"])
    assert set(hard) == set(HARD_KINDS)
    assert sum(hard.values()) == pytest.approx(HARD_SHARE * len(rows), rel=0.02)


def test_gold_has_equal_classes_and_the_promised_share_of_hard_documents() -> None:
    rows = gold_rows()
    assert len({row["id"] for row in rows}) == len(rows) == 2000
    assert Counter(row["label"] for row in rows) == dict.fromkeys(LABELS, 200)
    hard = Counter(row["hardness"] for row in rows if row["hardness"])
    assert set(hard) == set(HARD_KINDS)
    assert sum(hard.values()) == pytest.approx(HARD_SHARE * len(rows), rel=0.02)


def test_gold_names_exactly_the_heldout_documents() -> None:
    folder = TICKETS / "heldout"
    ids = [row["id"] for name in ("tickets.jsonl", "archive.jsonl.gz") for row in json_rows(folder / name)]
    ids += [str(name) for name in pq.read_table(folder / "crm-export.parquet").column("id").to_pylist()]
    with (folder / "helpdesk.csv").open(encoding="utf-8", newline="") as lines:
        ids += [row["id"] for row in csv.DictReader(lines)]
    for pattern in LAYOUT:
        if "*" in pattern:
            found = [path.relative_to(folder).as_posix() for path in folder.glob(pattern)]
            assert len(found) == LAYOUT[pattern]
            ids += found
    assert sorted(ids) == sorted(row["id"] for row in gold_rows())


def test_no_label_lies_beside_a_heldout_text() -> None:
    folder = TICKETS / "heldout"
    for name in ("tickets.jsonl", "archive.jsonl.gz"):
        assert all(set(row) == {"id", "channel", "received_at", "customer", "text"} for row in json_rows(folder / name))
    assert "label" not in pq.read_schema(folder / "crm-export.parquet").names


def test_train_and_heldout_share_no_document(made: Made) -> None:
    _, train, heldout = made
    assert not {document.text for document in train} & {document.text for document in heldout}
    ids = {row["id"] for row in json_rows(TICKETS / "train.jsonl.gz")}
    assert not ids & {row["id"] for row in gold_rows()}


def test_lengths_are_spread_within_the_limits(made: Made) -> None:
    lengths = sorted(len(document.text.split()) for document in made[2])
    assert lengths[0] >= MIN_WORDS and lengths[-1] <= MAX_WORDS
    assert 90 <= lengths[len(lengths) // 2] <= 130
    assert 0.01 <= sum(length > 500 for length in lengths) / len(lengths) <= 0.06


def test_heldout_documents_are_not_near_copies_of_each_other(made: Made) -> None:
    assert count_near_copies(made[2]) <= 2


def test_mails_parse_without_defects_and_come_in_several_encodings() -> None:
    mails = [
        message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in sorted((TICKETS / "heldout" / "mail").glob("*.eml"))
    ]
    assert all(mail["Subject"] and mail["From"] and mail["Date"] for mail in mails)
    assert not any(part.defects for mail in mails for part in mail.walk())
    assert {"text/plain", "text/html", "multipart/alternative"} == {mail.get_content_type() for mail in mails}
    encodings = {part["Content-Transfer-Encoding"] for mail in mails for part in mail.walk()}
    assert {"quoted-printable", "base64"} <= encodings
    assert "iso-8859-1" in {part.get_content_charset() for mail in mails for part in mail.walk()}
