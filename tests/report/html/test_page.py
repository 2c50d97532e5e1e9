"""The page of a run: says what the rows say, needs nothing but itself, and takes whatever documents are called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.dataset as dataset
import pyarrow.parquet as pq
import pytest

from pipelines.adapting.chain import AdaptedTo, Begun, Ended, ToldChain, Training
from pipelines.adapting.gate import Gate, Measured
from pipelines.errors import StoreError
from pipelines.people.answers import Answer, Answers
from pipelines.report.html.page import run_page
from pipelines.report.html.reported_run import read_run
from pipelines.report.html.tables import cost_rows
from pipelines.report.summary import Summary
from pipelines.store import layout
from pipelines.store.objects import Store
from tests.report.html.kinds_of_runs import KINDS, SHOWN_CODE
from tests.report.html.made_run import BEGUN, LABELS, finding_row, job_of, make_run, row, rule

VOID = {"meta", "link"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<!--<script>",
    "{{ 7 * 7 }}{% raw %}",
    "]]></svg><style>*{display:none}</style>",
    "a\u202egnp.exe\u2066\u200f",
    "line\nbreak\x00\x1b[2J",
]


class Elements(HTMLParser):
    """Every element with its attributes; complains of what is not closed as it was opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def within(self, tag: str) -> str:
        return "".join(text for inside, text in self.texts if inside == tag)


def page_of(store: Store, with_texts: bool = False) -> str:
    return run_page(store, with_texts).decode()


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_page_is_well_formed_and_asks_for_nothing(make: Callable[[Path], Store], tmp_path: Path) -> None:
    store = make(tmp_path)
    page = page_of(store)
    elements = Elements(page)
    policy = [given["content"] for tag, given in elements.found if given.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert [given for tag, given in elements.found if tag == "script"] == [
        {"type": "application/json", "id": "summary"}
    ]
    for tag, given in elements.found:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form"), tag
        assert not any(name.startswith("on") or name in ("src", "style", "xlink:href") for name in given), (tag, given)
        assert given.get("href", "#").startswith(("#", "data:,")), given
    assert "url(" not in elements.within("style")
    assert "@import" not in elements.within("style")
    assert json.loads(elements.within("script")) == json.loads(store.read(layout.SUMMARY))


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_the_same_run_gives_the_same_page(make: Callable[[Path], Store], tmp_path: Path) -> None:
    store = make(tmp_path)
    assert page_of(store) == page_of(store)


@pytest.mark.parametrize(
    ("kind", "colour", "words"),
    [
        ("kept", "kept", "Promise kept: at least 90% of 120 items"),
        ("empty", "none", "Nothing to answer"),
        ("stopped", "stopped", "Stopped by the budget: 40 of 80 items wait for a person"),
        ("failing", "failed", "Not usable: 40 of 60 items failed"),
        ("mixed", "none", "No promise: none was asked for"),
        ("without_engine", "none", "No promise"),
    ],
)
def test_the_verdict_comes_first_and_in_its_colour(kind: str, colour: str, words: str, tmp_path: Path) -> None:
    page = page_of(KINDS[kind](tmp_path))
    assert re.search(rf'<section class="verdict {colour}" id="verdict">\s*<p>{re.escape(words)}', page)


def test_the_numbers_of_the_flow_add_up_to_the_rows(tmp_path: Path) -> None:
    assert "160 accepted + 10 escalated + 10 review + 10 withheld + 10 failed = 200 items." in page_of(
        KINDS["mixed"](tmp_path)
    )


@pytest.mark.parametrize("kind", ["kept", "mixed", "without_engine"])
def test_rows_summary_and_page_are_one_sum_to_the_last_digit(kind: str, tmp_path: Path) -> None:
    store = KINDS[kind](tmp_path)
    rows = dataset.dataset(store.uri(layout.RESULTS)).to_table()["cost_usd"].to_pylist()
    summary = Summary.model_validate_json(store.read(layout.SUMMARY))
    shown = [Decimal(each.total.exact) for each in cost_rows(summary)]
    assert sum(rows) == summary.cost_usd == shown[-1] == sum(shown[:-1])
    assert f'title="{cost_rows(summary)[-1].total.exact}"' in page_of(store)


def test_what_has_no_price_is_unknown_in_words_and_never_zero(tmp_path: Path) -> None:
    store = KINDS["unpriced"](tmp_path)
    page = page_of(store)
    summary = Summary.model_validate_json(store.read(layout.SUMMARY))
    everything = cost_rows(summary)[-1]
    assert (everything.engine.short, everything.total.short) == ("unknown", "unknown")
    assert "engine cost is unknown: set compute.device_hour_usd in the job" in page
    assert "this run: unknown; what is known, 0.000411 USD" in page
    assert "<b>unknown</b><span>for 1,000 items" in page


def test_without_labels_bought_at_random_the_curve_is_left_out_with_the_reason(tmp_path: Path) -> None:
    page = page_of(KINDS["mixed"](tmp_path))
    assert "Left out: it needs labels that speak for all items" in page
    assert 'id="plot-curve"' not in page
    with_labels = page_of(KINDS["kept"](tmp_path / "kept"))
    assert 'id="plot-curve"' in with_labels
    assert 'id="plot-reliability"' in with_labels
    few = rule(calibration={"reason": "only 12 labels; 50 are needed", "fitted_on": 12})
    page = page_of(make_run(tmp_path / "few", [row(n) for n in range(3)], quality=few))
    assert "speak for all items (only 12 labels; 50 are needed)" in page


def test_the_curve_counts_each_bin_of_labels_for_the_items_that_it_stands_for(tmp_path: Path) -> None:
    bins = [
        {"items": 50, "mean_confidence": 0.4, "agreement": 0.4, "share": 0.1},
        {"items": 50, "mean_confidence": 0.9, "agreement": 1.0, "share": 0.9},
    ]
    measured = {"bins": bins, "expected_calibration_error": 0.05, "brier": 0.1}
    fitted = rule().calibration | {"reliability": measured, "raw_reliability": measured}
    page = page_of(make_run(tmp_path, [row(n) for n in range(100)], quality=rule(calibration=fitted)))
    assert "0% asked: 94.0% agree" in page and "10% asked: 100.0% agree" in page


def test_the_policy_says_what_was_sent_to_whom_and_what_never(tmp_path: Path) -> None:
    page = page_of(KINDS["mixed"](tmp_path))
    assert "10 items were sent to claude-haiku-5-5 through anthropic; inference_geo was not set." in page
    assert "Never sent: items for which `contains_pii == true` holds" in page
    assert "10 doubtful items were withheld by it." in page
    off = job_of(escalation="off", quality={"raw_threshold": 0.8})
    assert "Nothing was sent to anybody" in page_of(make_run(tmp_path / "off", [row(1)], job=off))


def test_provenance_names_all_that_the_run_was_made_with(tmp_path: Path) -> None:
    page = page_of(KINDS["kept"](tmp_path))
    for each in ("sha256-1", "cc4f2fdf6d436020", "4f36958cdaae67aa", "2026-11-20/16 rows", "python 3.11.7"):
        assert each in page


def test_a_run_of_a_series_that_adapts_shows_the_chain_of_its_adapters(tmp_path: Path) -> None:
    store = make_run(tmp_path, [row(1)], job=job_of(adapt={"every": "30d"}))
    assert "Adapters</h3>" not in page_of(store), "a run by hand is none of a series"
    to = AdaptedTo(base_revision="sha256-1", prompt_fingerprint="p", own_adapter=None)
    measured = [Measured(asked, 0.5, 0.1, 1.0) for asked in (0.648, 0.467)]
    gate = Gate(*measured, saved=0.181, saved_low=0.1, saved_high=0.25, held_back=200, documents=900, draws=60)
    ends = [
        Ended(ended_at=BEGUN, outcome="adopted", folder="f", gate=gate),
        Ended(ended_at=BEGUN, outcome="failed", reason="<b>too few labels"),
        None,
    ]
    trainings = [
        Training(
            begun=Begun(number=number, begun_at=BEGUN, runs=("r",), after_run=1, sources=("gold",), adapted_to=to),
            ended=ended,
        )
        for number, ended in enumerate(ends, 1)
    ]
    store.create(layout.ADAPTERS, ToldChain(used=1, trainings=tuple(trainings)).model_dump_json().encode())
    page = page_of(store)
    Elements(page)
    assert "This run used the adapter of training 1." in page
    for told in ("64.8%", "46.7%", "18.1% (10.0% to 25.0%)", "2026-11-27", "adopted, used here"):
        assert told in page
    assert "failed: &lt;b&gt;too few labels" in page and "not at its end when this run began" in page


def test_text_of_documents_is_there_only_where_it_is_asked_for(tmp_path: Path) -> None:
    store = KINDS["kept"](tmp_path)
    sampled = read_run(store).figures.samples["accepted"][0]["document_id"]
    again = make_run(
        tmp_path / "again", [row(n) for n in range(120)], texts={sampled: "a secret <b>text</b>\nof two lines"}
    )
    assert "secret" not in page_of(again)
    with_texts = page_of(again, with_texts=True)
    assert "a secret &lt;b&gt;text&lt;/b&gt;\nof two lines" in with_texts
    assert "no text of any document" not in with_texts


def test_a_long_text_is_cut(tmp_path: Path) -> None:
    store = make_run(tmp_path, [row(1)], texts={"doc-1": "x" * 5_000})
    page = page_of(store, with_texts=True)
    assert "x" * 2_001 not in page
    assert "[3,000 more characters]" in page


def test_findings_have_their_place_and_their_lines_only_where_texts_are_asked_for(tmp_path: Path) -> None:
    store = KINDS["review"](tmp_path)
    page = page_of(store)
    assert "10 findings reported of 10 made." in page
    assert "<bdi>src/price.py</bdi>:12" in page
    assert "The last one is left out." in page
    assert "sum(items" not in page
    assert "<mark>12      return sum(items[1:])</mark>" in page_of(store, with_texts=True)
    assert "sum(items[1:])" in SHOWN_CODE


def test_the_worst_findings_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    rows = [row(1, "escalated", answer="faulty", engine_answer="clean", task="code_review")]
    findings = [finding_row(1, line=n + 1, end_line=n + 1, severity="low") for n in range(310)]
    findings += [finding_row(1, line=999, end_line=999, severity="critical")]
    job = job_of(task="code_review") | {"labels": {"faulty": None, "clean": None}}
    page = page_of(make_run(tmp_path, rows, job=job, findings=findings))
    assert page.count('<article class="finding') == 300
    assert '<article class="finding critical">' in page
    assert "311 findings reported of 311 made." in page
    assert "The worst 300 are listed" in page


def hostile_rows() -> list[dict[str, Any]]:
    routes = ("accepted", "escalated", "review", "withheld", "failed")
    return [
        row(n, routes[n % 5], document_id=name, reason=f"because {name}", answer=name if n % 5 < 2 else None)
        | {"engine_answer": HOSTILE[-1 - n]}
        for n, name in enumerate(HOSTILE)
    ]


def test_nothing_that_is_called_like_markup_becomes_markup(tmp_path: Path) -> None:
    policy = {"never_escalate": "owner == '</li><script>alert(1)</script>'"}
    job = job_of(labels=dict.fromkeys([*LABELS, *HOSTILE[:6]]), instructions="</pre><script>alert(1)</script>")
    rows = hostile_rows()
    drift = {"since": HOSTILE[0], "label_mix": 0.5, "confidence": 0.5, "agreement": None}
    quality = rule(drift=drift, statement=f"Promised: {HOSTILE[1]}")
    texts = {each["document_id"]: name for each, name in zip(rows, reversed(HOSTILE), strict=True)}
    store = make_run(tmp_path, rows, job=job | {"policy": policy}, quality=quality, texts=texts)
    plain = Elements(page_of(make_run(tmp_path / "plain", [row(n, each["route"]) for n, each in enumerate(rows)])))
    page = page_of(store, with_texts=True)
    elements = Elements(page)
    assert {tag for tag, _ in elements.found} - {tag for tag, _ in plain.found} <= {"ul", "circle"}
    assert sum(tag == "script" for tag, _ in elements.found) == 1
    assert not any(name.startswith("on") for _, given in elements.found for name in given)
    assert json.loads(elements.within("script")) == json.loads(store.read(layout.SUMMARY))
    assert "49" not in elements.within("bdi")
    for char in "\u202e\u2066\u200f\x00\x1b":
        assert char not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_findings_that_are_called_like_markup_stay_text(tmp_path: Path) -> None:
    rows = [row(1, "escalated", answer="faulty", engine_answer="clean", task="code_review")]
    findings = [finding_row(1, path=name, message=name, line=n + 1, end_line=n + 1) for n, name in enumerate(HOSTILE)]
    job = job_of(task="code_review") | {"labels": {"faulty": None, "clean": None}}
    elements = Elements(page_of(make_run(tmp_path, rows, job=job, findings=findings)))
    assert sum(tag == "script" for tag, _ in elements.found) == 1
    assert not any(tag == "img" for tag, _ in elements.found)


def test_a_run_whose_rows_are_not_those_of_its_summary_has_no_page(tmp_path: Path) -> None:
    store = KINDS["kept"](tmp_path)
    pq.write_table(
        dataset.dataset(store.uri(layout.RESULTS)).to_table().slice(0, 3), Path(store.root) / "results/part-9.parquet"
    )
    with pytest.raises(StoreError, match=r"holds 123 rows and the summary tells of 120"):
        run_page(store)


def test_what_people_have_answered_since_is_told_beside_the_run_as_it_ended(tmp_path: Path) -> None:
    store = make_run(tmp_path, [row(1), row(2, "review"), row(3, "review")])
    before = run_page(store).decode()
    given = Answer(row(2)["item_id"], "billing", "a<b>", BEGUN, "screen")
    Answers(store).give([given])
    page = run_page(store).decode()
    assert (
        "People have answered 1 of 2 items that were left to them (a&lt;b&gt; 1), the last on 2026-11-27 10:00 UTC."
    ) in page
    assert "answered by a&lt;b&gt;" in page
    assert page.partition('id="summary"')[2] == before.partition('id="summary"')[2]
