"""Documents of the same text: which are, which are not, and what the plan makes of them."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.duplicates import Originals, text_key
from pipelines.documents.planning import PlanLimits, item_id_of, plan_shards
from pipelines.documents.records import Document
from pipelines.scored_parts import is_copy, items_of_plan, predictions_of, read_scored_part, scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import DUPLICATE_OF, PLAN, to_arrow
from tests.test_results import predictions

LIMITS = PlanLimits(document_tokens=50, shard_tokens=3)


def planned(*documents: Document, held: frozenset[str] = frozenset()) -> list[dict[str, object]]:
    def withhold(document: Document) -> str | None:
        return "held" if document.document_id in held else None

    tokenized: list[str] = []

    def tokenize(texts: list[str]) -> list[list[int]]:
        tokenized.extend(texts)
        return [[1] for _ in texts]

    shards = list(plan_shards(documents, tokenize, LIMITS, withhold, originals=Originals()))
    rows = [row for shard in shards for row in shard.to_pylist()]
    assert tokenized == [row["text"] for row in rows if row["text"] is not None]
    assert all(shard.schema.names == [*PLAN.names, DUPLICATE_OF] for shard in shards)
    return rows


def document(number: int, text: str | None, **more: str) -> Document:
    failure = "is empty" if text is None else None
    return Document(f"d{number}", "in/a.jsonl", number, text, failure=failure, gold_label=more.get("gold"))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("charged twice", "charged twice", True),
        ("charged twice\n", "  charged \t\r\n twice", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("charged twice", "Charged twice", False),
        ("charged twice", "chargedtwice", False),
        ("\ufb01ne", "fine", False),  # a ligature is another text: NFC, not NFKC
    ],
)
def test_the_same_text_differs_in_white_space_and_composed_accents_only(one: str, other: str, is_same: bool) -> None:
    assert (text_key(one, is_withheld=False) == text_key(other, is_withheld=False)) is is_same


@given(
    st.lists(
        st.sampled_from(["a", "b", " ", "  ", "\n", "\t", "\x1f", "\x85", "\xa0", "\u2003", "\u3000", "\u00e9", "\0"])
    )
)
def test_a_text_has_the_key_of_its_words_with_a_space_between_them(parts: list[str]) -> None:
    text = "".join(parts)
    assert text_key(text, is_withheld=False) == text_key(" ".join(text.split()), is_withheld=False)


def test_a_copy_has_no_text_and_names_its_original_over_shards_and_with_labels_of_its_own() -> None:
    texts = ["one", "two", " one ", None, "three", "four", "five", "one", None, "two"]
    given = [document(number, text, gold=f"label {number}") for number, text in enumerate(texts)]
    rows = planned(*given)
    originals = {2: 0, 7: 0, 9: 1}
    assert [row[DUPLICATE_OF] for row in rows] == [
        item_id_of(given[originals[number]]) if number in originals else None for number in range(len(texts))
    ]
    assert all((row["text"] is None) == (row["tokens"] is None) for row in rows)
    assert [rows[number]["text"] for number in originals] == [None] * 3
    assert [row["gold_label"] for row in rows] == [f"label {number}" for number in range(len(texts))]
    assert [number for number, row in enumerate(rows) if row["failure"]] == [3, 8]


def test_what_is_withheld_and_what_is_not_are_no_copies_of_each_other_whichever_comes_first() -> None:
    rows = planned(*(document(number, "same") for number in range(4)), held=frozenset({"d1", "d3"}))
    ids = [row["item_id"] for row in rows]
    assert [row[DUPLICATE_OF] for row in rows] == [None, None, ids[0], ids[1]]
    rows = planned(*(document(number, "same") for number in range(3)), held=frozenset({"d0"}))
    assert [row[DUPLICATE_OF] for row in rows] == [None, None, rows[1]["item_id"]]


def test_a_document_that_failed_is_nobodys_original() -> None:
    twice = replace(document(1, "same"), document_id="d0")  # an id that was there before
    rows = planned(document(0, "other"), twice, document(2, "same"), document(3, "same"))
    assert rows[1]["failure"] and [row[DUPLICATE_OF] for row in rows] == [None, None, None, rows[2]["item_id"]]


def test_without_originals_every_document_is_asked_about() -> None:
    (shard,) = plan_shards([document(n, "same") for n in range(3)], lambda texts: [[1]] * len(texts), LIMITS)
    assert shard.schema.equals(PLAN) and shard["text"].to_pylist() == ["same"] * 3


@given(st.lists(st.integers(0, 30), max_size=120), st.integers(1, 20))
def test_however_they_are_kept_the_first_of_each_text_is_found(texts: list[int], batch: int) -> None:
    """Texts and ids with zeros at both ends, which numpy would drop."""
    originals, first = Originals(), dict[int, str]()
    originals._RECENT = 4  # type: ignore[misc]  # so that arrays are merged within a short list
    for start in range(0, len(texts), batch):
        part = texts[start : start + batch]
        ids = [f"itm_{(start + place) << 8:020x}" for place in range(len(part))]
        found = originals.originals_of([bytes([text]).ljust(16, b"\0") for text in part], ids)
        for text, item_id, original in zip(part, ids, found, strict=True):
            assert original == first.get(text)
            first.setdefault(text, item_id)


def test_a_scored_part_holds_copies_that_nobody_reads_who_asks_or_decides(tmp_path: object) -> None:
    store = Store(str(tmp_path))
    table = pa.Table.from_pylist(
        [{**dict.fromkeys(PLAN.names), "item_id": f"itm_{n}", "document_id": "d", "document_uri": "u",
          "document_offset": n, "text": None if n == 1 else "text"} for n in range(3)],
        schema=PLAN,
    ).append_column(DUPLICATE_OF, pa.array([None, "itm_0", None], pa.string()))  # fmt: skip
    part = scored_part(items_of_plan(to_arrow(table)), predictions({0: 0.9, 2: 0.6}))
    assert is_copy(part).tolist() == [False, True, False]
    store.create(layout.predictions_part(0), to_arrow(part))
    read = read_scored_part(store, 0)
    assert read["item_id"].to_pylist() == ["itm_0", "itm_2"] and len(predictions_of(read)) == 2
