"""One rule for when two texts name the same label."""

import json
import unicodedata

import pytest

from pipelines.escalation.endings import Ending, judge, label_reader
from pipelines.escalation.provider import ItemResult
from pipelines.tasks.label_names import LabelNames, label_key

SAME = [
    ("billing ", "billing"),
    ("billing", " BILLING\n"),
    (unicodedata.normalize("NFD", "caf\u00e9"), unicodedata.normalize("NFC", "caf\u00e9")),
    ("late\u00a0parcel", "late parcel"),
    ("late  parcel", "late\tparcel"),
    ("late\u3000parcel", "late parcel"),
    ("out\u200bage", "outage"),
    ("\ufeffoutage", "outage"),
    ("out\u00adage", "outage"),
    ("stra\u00dfe", "STRASSE"),
    ("\u26a0\ufe0f alarm", "\u26a0 alarm"),
    ("\u0130stanbul", "i\u0307stanbul"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_label_are_found_from_each_other(one: str, other: str) -> None:
    for name, text in ((one, other), (other, one)):
        assert LabelNames([name, "x"]).find(text) == name
        verdict = judge(ItemResult("i", "succeeded", f'{{"label": {json.dumps(text)}}}'), label_reader([name, "x"]))
        assert (verdict.ending, verdict.label) == (Ending.ANSWERED, name)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("late parcel", "lateparcel"), ("resume", "r\u00e9sum\u00e9")])
def test_what_a_reader_tells_apart_stays_apart(one: str, other: str) -> None:
    assert LabelNames([one]).find(other) is None


@pytest.mark.parametrize("text", ["", "  ", "\u00a0", "\u200b\u200d", "\ufeff"])
def test_what_cannot_be_seen_names_nothing(text: str) -> None:
    assert label_key(text) == ""
