"""The end of a run on one card, in eighty columns, and the same words in a pipe."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from flows.console.views.card import card_lines, further_lines
from pipelines.report.summary import Summary
from pipelines.store import layout
from tests.report.html.kinds_of_runs import KINDS
from tests.report.html.made_run import make_run, row


def summary_of(kind: str, folder: Path) -> Summary:
    return Summary.model_validate_json(KINDS[kind](folder).read(layout.SUMMARY))


def card(summary: Summary) -> list[str]:
    return [line.plain if isinstance(line, Text) else line for line in card_lines(summary, "/out/run_1/report.html")]


def test_a_kept_promise(tmp_path: Path) -> None:
    summary = summary_of("kept", tmp_path)
    shown = card(summary)
    assert shown[:3] == [
        "promise   kept: at least 90% of 120 items agree with Claude (95% assurance)",
        f"items     {'█' * 40}{'▓' * 20}",
        "          █ 80 accepted 66.7%  ▓ 40 escalated 33.3%",
    ]
    assert shown[3:7] == [
        "accuracy  100.0% of 120 answers equal their gold label; the engine alone 100.0%",
        "cost      0.00166 USD (engine 0.0000148, Claude 0.00164); Claude asked about 33.3%",
        "          per 1,000 items      0.0138 USD; all by Claude 0.0411 USD",
        "          per million           13.82 USD; all by Claude 41.10 USD",
    ]
    assert shown[7].startswith("drift     since run run_0: 20.0% of the answers in another mix")
    assert shown[-2:] == [f"results   {summary.results}", "report    /out/run_1/report.html"]
    assert further_lines(summary) == ["Promised: much.", "Certified: all of it."]


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (
            "stopped",
            "stopped   by the budget: 40 of 80 items wait for a person; to have them answered, raise budget_usd",
        ),
        ("failing", "problem   40 of 60 items failed, 40 of them alike: is not UTF-8"),
        ("mixed", "promise   none: none was asked for; quality.target in the job sets one"),
        ("empty", "nothing   was there to answer: the input holds no document"),
    ],
)
def test_the_first_line_is_the_verdict(kind: str, first: str, tmp_path: Path) -> None:
    assert card(summary_of(kind, tmp_path))[0].startswith(first)


def test_what_has_no_answer_is_told_with_its_commonest_reason(tmp_path: Path) -> None:
    shown = card(summary_of("mixed", tmp_path))
    assert "failed    10 could not be read: is not UTF-8 (such as doc-4)" in shown
    assert "withheld  10 doubtful and never sent: contains_pii == true (such as doc-8)" in shown
    assert "review    10 for a person to answer: Claude refused (such as doc-12)" in shown


def test_an_unknown_price_is_unknown_and_told_what_sets_it(tmp_path: Path) -> None:
    shown = card(summary_of("unpriced", tmp_path))
    assert "cost      unknown (engine unknown, Claude 0.000411); Claude asked about 25.0%" in shown
    assert "          per 1,000 items         unknown; all by Claude 0.0411 USD" in shown
    assert "warning   engine cost is unknown: set compute.device_hour_usd in the job" in shown


def test_that_the_engine_is_no_help_is_told_with_what_to_do(tmp_path: Path) -> None:
    rows = [row(n, "escalated", engine_answer="billing", answer=("outage", "other")[n % 2]) for n in range(60)]
    shown = card(Summary.model_validate_json(make_run(tmp_path, rows).read(layout.SUMMARY)))
    warnings = [line for line in shown if line.startswith("warning")]
    assert any("not measurably better than chance" in line and "larger model" in line for line in warnings)
    assert any("the engine has spared next to nothing" in line for line in warnings)


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_lines_fit_eighty_columns_and_the_bar_is_always_as_long(kind: str, tmp_path: Path) -> None:
    drawn = [line for line in card_lines(summary_of(kind, tmp_path), "report.html") if isinstance(line, Text)]
    assert all(len(line) <= 80 for line in drawn)
    assert {len(line) for line in drawn if line.plain.startswith("items")} <= {70}


def test_the_smallest_part_is_seen_and_the_legend_of_many_breaks(tmp_path: Path) -> None:
    routes = ("escalated", "review", "withheld", "failed")
    rows = [row(n, routes[n] if n < 4 else "accepted") for n in range(3_000)]
    summary = Summary.model_validate_json(make_run(tmp_path, rows).read(layout.SUMMARY))
    bar, *legend = [line.plain for line in card_lines(summary, "report.html") if isinstance(line, Text)]
    assert bar == f"items     {'█' * 56}▓▒░x"
    assert len(legend) == 2
    assert "x 1 failed 0.1%" in legend[1]


def test_in_a_pipe_there_is_no_colour_and_in_a_terminal_there_is(tmp_path: Path) -> None:
    drawn = next(line for line in card_lines(summary_of("kept", tmp_path), "r") if isinstance(line, Text))
    screens = {}
    for is_terminal in (False, True):
        screens[is_terminal] = io.StringIO()
        console = Console(
            file=screens[is_terminal], force_terminal=is_terminal, color_system="standard" if is_terminal else None
        )
        console.print(drawn, soft_wrap=True)
    assert screens[False].getvalue() == drawn.plain + "\n"
    assert "\x1b[" in screens[True].getvalue()


def test_a_name_cannot_pretend_to_be_a_line_of_the_card(tmp_path: Path) -> None:
    name = "a\nresults   /somewhere/else/results\x1b[2J"
    rows = [*(row(n) for n in range(9)), row(10, "failed", document_id=name, reason=f"is empty, {name}")]
    summary = Summary.model_validate_json(make_run(tmp_path, rows).read(layout.SUMMARY))
    shown = "\n".join([*card(summary), *further_lines(summary)])
    assert [line for line in shown.split("\n") if line.startswith("results")] == [f"results   {summary.results}"]
    assert "\x1b" not in shown
