"""The one sentence that a run comes to, and what else is said beside it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.cascade.record import RuleRecord
from pipelines.report.numbers import at_least, per_items, share, short_usd
from pipelines.report.summary import Summary
from pipelines.report.verdict import verdict, worth_knowing
from pipelines.routes import Stop
from pipelines.store import layout
from tests.report.html.made_run import make_run, row, rule

FEW = [row(n) for n in range(3)]


def closed(folder: Path, rows: list[dict[str, Any]], **given: Any) -> Summary:
    return Summary.model_validate_json(make_run(folder, rows, **given).read(layout.SUMMARY))


@pytest.mark.parametrize(
    ("quality", "kind", "sentence"),
    [
        (rule(0.9, items=3), "kept", "Promise kept: at least 90% of 3 items agree with Claude (95% assurance)."),
        (
            rule(0.9, items=3, term={"term": 2, "runs": 4, "counted": {"after": {"items": 410, "strikes": 1}}}),
            "kept",
            "Promise kept: at least 90% of 410 items of 4 runs, this one the last, agree with Claude (95% assurance).",
        ),
        (
            rule(0.8123, items=3),
            "not_kept",
            "Promise not kept: 90% were asked for, and at least 81.2% of 3 items agree with Claude (95% assurance).",
        ),
        (
            rule(None),
            "none",
            "No promise: no item of this run may be sent to Claude, so there is nothing to promise anything of.",
        ),
        (
            rule(0.7, dial="budget", target=None),
            "none",
            "No promise: the budget decided how many items were asked; at least 70% agree with Claude (95% assurance).",
        ),
        (
            rule(None, dial="budget", target=None),
            "none",
            "No promise: the budget decided how many items were asked, and nothing is certified.",
        ),
        (None, "none", "No promise: none was asked for; quality.target in the job sets one."),
    ],
)
def test_what_was_promised_is_said_in_one_sentence(
    tmp_path: Path, quality: RuleRecord | None, kind: str, sentence: str
) -> None:
    said = verdict(closed(tmp_path, FEW, quality=quality))
    assert (said.kind, said.sentence) == (kind, sentence)


@pytest.mark.parametrize(
    ("unanswered", "kind", "sentence"),
    [
        (
            1,
            "kept",
            "Promise kept: at least 90% of 20 items agree with Claude (95% assurance); 1 of them waits for a person.",
        ),
        (
            3,
            "not_kept",
            "Promise open: 3 of 20 items wait for a person, Claude having given no answer that counts; of the others "
            "no more than allowed differ (95% assurance).",
        ),
    ],
)
def test_a_promise_is_not_called_kept_where_claude_left_more_unanswered_than_may_differ(
    tmp_path: Path, unanswered: int, kind: str, sentence: str
) -> None:
    rows = [row(n, route="review", answer=None) if n < unanswered else row(n) for n in range(20)]
    said = verdict(closed(tmp_path, rows, quality=rule(0.9, items=20)))
    assert (said.kind, said.sentence) == (kind, sentence)


def test_a_stop_is_said_before_a_promise_which_it_breaks(tmp_path: Path) -> None:
    rows = [*FEW, row(3, "review", reason="budget")]
    said = verdict(closed(tmp_path, rows, quality=rule(None), stopped_by=Stop.BUDGET))
    assert said.kind == "stopped"
    assert said.sentence == (
        "Stopped by the budget: 1 of 4 items waits for a person; to have them answered, raise budget_usd and submit "
        "under another --run-id; the promise of 90% agreement is not kept."
    )


def test_a_run_that_failed_says_nothing_of_a_promise(tmp_path: Path) -> None:
    failed = closed(tmp_path, [row(n, "failed", reason="is not UTF-8") for n in range(3)], quality=rule(0.9))
    said = verdict(failed)
    assert said.kind == "failed"
    assert said.sentence.startswith("Not usable: 3 of 3 items failed, 3 of them alike: is not UTF-8")
    assert worth_knowing(failed) == []


def test_where_no_engine_ran_no_promise_is_missed(tmp_path: Path) -> None:
    rows = [row(n, "escalated", engine_answer=None, gpu_seconds=0.0) for n in range(3)]
    assert verdict(closed(tmp_path, rows)).sentence == "No promise: no engine ran, and every answer is Claude's own."


def test_a_run_over_nothing_says_so(tmp_path: Path) -> None:
    assert verdict(closed(tmp_path, [])).sentence == "Nothing to answer: the input holds no document."


def test_of_each_route_without_answers_the_commonest_reason_is_told(tmp_path: Path) -> None:
    rows = [
        *FEW,
        row(3, "failed", reason="is empty"),
        row(4, "withheld", reason="contains_pii == true"),
        row(5, "review", reason="Claude refused"),
        row(6, "review", reason="Claude refused"),
        row(7, "review", reason="budget"),
    ]
    assert worth_knowing(closed(tmp_path, rows)) == [
        ("failed", "1 could not be read: is empty (such as doc-3)"),
        ("withheld", "1 doubtful and never sent: contains_pii == true (such as doc-4)"),
        ("review", "3 for a person to answer, 2 of them alike: Claude refused (such as doc-5)"),
    ]


@pytest.mark.parametrize(
    ("mix", "agreement", "is_told"), [(0.02, None, False), (0.02, -0.01, False), (0.2, None, True), (0.02, -0.08, True)]
)
def test_drift_is_told_where_it_is_more_than_chance(
    tmp_path: Path, mix: float, agreement: float | None, is_told: bool
) -> None:
    drift = {"since": "run_0", "label_mix": mix, "confidence": 0.01, "agreement": agreement}
    told = worth_knowing(closed(tmp_path, FEW, quality=rule(drift=drift)))
    assert [label for label, _ in told] == (["drift"] if is_told else [])


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "unknown"),
        ("0", "0"),
        ("0E-12", "0"),
        ("0.033399022807", "0.0334"),
        ("0.000000120", "0.000000120"),
        ("1.2", "1.20"),
        ("1234567.891", "1,234,567.89"),
        ("0.9999", "1.000"),
    ],
)
def test_money_is_shown_in_three_digits_and_never_as_zero_where_it_is_unknown(amount: str | None, shown: str) -> None:
    assert short_usd(None if amount is None else Decimal(amount)) == shown


def test_shares_and_limits_are_never_rounded_to_what_they_are_not() -> None:
    assert [share(part, 10_000) for part in (0, 1, 9_999, 10_000)] == ["0.0%", "0.1%", "99.9%", "100.0%"]
    assert share(0, 0) == "-"
    assert [at_least(limit) for limit in (0.9, 0.95, 0.70999, 0.999)] == ["90%", "95%", "70.9%", "99.9%"]


def test_of_no_items_there_is_no_cost_of_a_thousand() -> None:
    assert per_items(Decimal(1), 0, 1_000) is None
    assert per_items(Decimal("0.5"), 500, 1_000) == 1
