"""The books of a run: they say what the rows say, to the last digit, or they are not closed."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.item_sum import ItemSum
from pipelines.errors import InvariantError
from pipelines.report.page import as_markdown, percent, usd
from pipelines.report.summary import NEEDED_COLUMNS, Summary, Tally, summarize
from pipelines.results import ROUTES
from pipelines.store.schemas import RESULTS, read_part, to_parquet

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GPU_UNKNOWN = "engine cost is unknown: set compute.device_hour_usd in the job"
API_UNKNOWN = "cost of Claude is unknown: its model is not in the price book, or rows came without usage"
FREE = Decimal(0)


def row(route: str, **values: Any) -> dict[str, Any]:
    money = {"gpu_cost_usd": FREE, "api_cost_usd": FREE, "cost_usd": FREE}
    fixed = {"item_id": "i", "document_id": "d", "document_uri": "u", "document_offset": 0, "task": "classification"}
    return fixed | money | {"gpu_seconds": 0.0, "run_id": "run_1", "settled_at": NOW, "route": route} | values


def parts(*rows: dict[str, Any], size: int = 2) -> list[pa.Table]:
    """Published and read back the way a run does it."""
    tables = [pa.Table.from_pylist(list(rows[start : start + size]), RESULTS) for start in range(0, len(rows), size)]
    return [read_part(to_parquet(table), NEEDED_COLUMNS) for table in tables]


def close(
    tally: Tally, planned_items: int, provider: str | None = "anthropic", stopped_by: str | None = None
) -> Summary:
    return tally.summary(
        run_id="run_1",
        results="out/results",
        planned_items=planned_items,
        provider=provider,
        stopped_by=stopped_by,
        engine_held_seconds=12.5,
    )


def summary(*rows: dict[str, Any]) -> Summary:
    return close(summarize(parts(*rows)), len(rows))


def test_a_raw_threshold_is_warned_of() -> None:
    closed = summarize(parts()).summary(
        run_id="run_1",
        results="out/results",
        planned_items=0,
        provider=None,
        stopped_by=None,
        engine_held_seconds=0.0,
        raw_threshold=0.9,
    )
    assert closed.warnings == [
        "quality.raw_threshold 0.9 promises nothing: engines are often sure of what is wrong. "
        "quality.target keeps a share of agreement with Claude"
    ]


@pytest.mark.parametrize(("limit", "is_told"), [(None, False), (2, True), (3, False)])
def test_a_run_over_the_first_documents_only_says_so(limit: int | None, is_told: bool) -> None:
    closed = summarize(parts(row("accepted"), row("accepted"))).summary(
        run_id="run",
        results="r",
        planned_items=2,
        provider=None,
        stopped_by=None,
        engine_held_seconds=0,
        document_limit=limit,
    )
    told = "only the first 2 documents were read (limits.documents): this is no run over all of them"
    assert (told in closed.warnings) is is_told


def test_a_calibration_that_is_for_another_prompt_is_told() -> None:
    closed = summarize(parts()).summary(
        run_id="run_1",
        results="out/results",
        planned_items=0,
        provider=None,
        stopped_by=None,
        engine_held_seconds=0.0,
        is_calibration_refused=True,
    )
    assert closed.warnings == [
        "confidence is empty: the calibration that comes with the model was made for another prompt, other labels or "
        "another label_order. quality.target calibrates on this run's own labels"
    ]


def test_items_and_money_by_route_add_up() -> None:
    engine, claude = Decimal("0.000000000001"), Decimal("0.000123456789")
    closed = summary(
        row("accepted", gpu_cost_usd=engine, cost_usd=engine, gpu_seconds=0.25),
        row("accepted", gpu_cost_usd=engine, cost_usd=engine, gpu_seconds=0.25),
        row("escalated", gpu_cost_usd=engine, api_cost_usd=claude, cost_usd=engine + claude, api_input_tokens=9),
        row("review", gpu_cost_usd=engine, cost_usd=engine),
        row("failed"),
    )
    assert {name: route.items for name, route in closed.routes.items()} == {
        "accepted": 2,
        "escalated": 1,
        "review": 1,
        "withheld": 0,
        "failed": 1,
    }
    assert tuple(closed.routes) == ROUTES
    assert closed.routes["accepted"].cost_usd == 2 * engine
    assert closed.routes["withheld"].cost_usd == 0
    assert (closed.gpu_cost_usd, closed.api_cost_usd) == (4 * engine, claude)
    assert closed.cost_usd == 4 * engine + claude
    assert (closed.items, closed.gpu_seconds, closed.warnings) == (5, 0.5, [])


AMOUNT = st.decimals(0, 100, places=12)
ROW = st.builds(
    lambda route, engine, claude: row(route, gpu_cost_usd=engine, api_cost_usd=claude, cost_usd=engine + claude),
    st.sampled_from(ROUTES),
    AMOUNT,
    AMOUNT,
)


@given(st.lists(ROW, max_size=12), st.integers(1, 5))
def test_the_total_is_the_sum_of_the_rows_however_they_are_cut(rows: list[dict[str, Any]], size: int) -> None:
    tables = [pa.Table.from_pylist(rows[start : start + size], RESULTS) for start in range(0, len(rows), size)]
    closed = close(summarize(tables), len(rows))
    for column in ("gpu_cost_usd", "api_cost_usd", "cost_usd"):
        assert getattr(closed, column) == sum((row[column] for row in rows), FREE)
        assert getattr(closed, column) == sum((getattr(r, column) for r in closed.routes.values()), FREE)
    assert sum(route.items for route in closed.routes.values()) == len(rows) == closed.items


def planned_sum(*item_ids: str) -> str:
    planned = ItemSum()
    planned.add(item_ids)
    return str(planned)


def test_rows_of_the_planned_items_in_any_order_and_parts_are_these_items() -> None:
    rows = [row("accepted", item_id=f"itm_{number}") for number in range(7)]
    for size in (1, 3, 7):
        summarize(parts(*rows[::-1], size=size)).check_items("run_1", planned_sum(*[r["item_id"] for r in rows]))


@pytest.mark.parametrize("ids", [("itm_1", "itm_1", "itm_3"), ("itm_1", "itm_2", "itm_4"), ("itm_1", "itm_2")])
def test_as_many_rows_as_items_are_not_enough_where_an_item_has_two_and_another_none(ids: tuple[str, ...]) -> None:
    tally = summarize(parts(*(row("accepted", item_id=item_id) for item_id in ids)))
    with pytest.raises(InvariantError, match="run run_1: its rows are not those of its"):
        tally.check_items("run_1", planned_sum("itm_1", "itm_2", "itm_3"))


@pytest.mark.parametrize("planned", [0, 1, 3])
def test_rows_that_are_not_the_planned_items_do_not_close_the_books(planned: int) -> None:
    with pytest.raises(InvariantError) as caught:
        close(summarize(parts(row("accepted"), row("failed"))), planned)
    assert str(caught.value) == (
        f"run run_1: 2 result rows for {planned} planned items; the run is not complete. "
        "Do not use the results; please report this with the run's folder"
    )


def test_a_route_nobody_knows_does_not_close_the_books() -> None:
    with pytest.raises(InvariantError):
        close(summarize(parts(row("accepted"), row("lost"))), 2)
    with pytest.raises(InvariantError):
        close(summarize(parts(row("accepted"), row("lost"))), 1)


def test_a_run_over_nothing_has_books_too() -> None:
    closed = close(summarize([RESULTS.empty_table()]), 0)
    assert (closed.items, closed.cost_usd, closed.accuracy, closed.escalated_share) == (0, 0, None, 0.0)
    assert closed.all_claude_cost_usd is None


def test_an_unknown_cost_is_never_counted_as_nothing() -> None:
    engine = Decimal("0.5")
    closed = summary(
        row("accepted", gpu_cost_usd=engine, cost_usd=engine),
        row("escalated", gpu_cost_usd=engine, api_cost_usd=None, cost_usd=None, api_input_tokens=9),
    )
    assert (closed.gpu_cost_usd, closed.api_cost_usd, closed.cost_usd) == (1, None, None)
    assert (closed.routes["accepted"].cost_usd, closed.routes["escalated"].cost_usd) == (engine, None)
    assert closed.all_claude_cost_usd is None
    assert closed.warnings == [API_UNKNOWN]
    both = summary(row("escalated", gpu_cost_usd=None, api_cost_usd=None, cost_usd=None))
    assert both.warnings == [GPU_UNKNOWN, API_UNKNOWN]


def test_what_all_items_would_cost_is_scaled_from_those_that_were_asked() -> None:
    """Two of five scorable items cost 0.03 together: five would cost 0.075."""
    asked = [row("escalated", api_cost_usd=Decimal(cost), api_input_tokens=9) for cost in ("0.01", "0.02")]
    closed = summary(*asked, row("accepted"), row("accepted"), row("review"), row("failed"))
    assert closed.all_claude_cost_usd == Decimal("0.075")
    assert closed.escalated_share == 0.4


def test_what_was_asked_and_not_answered_counts_as_asked() -> None:
    closed = summary(row("review", api_cost_usd=Decimal("0.01"), api_input_tokens=9), row("accepted"))
    assert closed.escalated_share == 0.5
    assert closed.all_claude_cost_usd == Decimal("0.02")


def test_items_that_claude_never_read_are_not_among_those_asked() -> None:
    """Held for review by the budget: they cost nothing, and would make Claude look cheap."""
    asked = row("escalated", api_cost_usd=Decimal("0.02"), api_input_tokens=9)
    closed = summary(asked, row("review", reason="budget: spent"), row("accepted"), row("accepted"))
    assert closed.escalated_share == 0.25
    assert closed.all_claude_cost_usd == Decimal("0.08")


@pytest.mark.parametrize("stopped_by", ["budget", "cancelled", None])
def test_what_stopped_the_run_is_told(stopped_by: str | None) -> None:
    assert close(summarize(parts(row("accepted"))), 1, stopped_by=stopped_by).stopped_by == stopped_by


def test_without_anything_asked_nothing_is_estimated() -> None:
    assert summary(row("accepted")).all_claude_cost_usd is None


def test_accuracy_counts_rows_with_a_known_answer() -> None:
    closed = summary(
        row("accepted", gold_label="a", answer="a", engine_answer="a"),
        row("escalated", gold_label="a", answer="a", engine_answer="b"),
        row("review", gold_label="b", engine_answer="b"),
        row("accepted", gold_label="b", answer="a", engine_answer="a"),
        row("accepted", answer="a", engine_answer="a"),
        row("failed", gold_label="a"),
    )
    accuracy = closed.accuracy
    assert accuracy
    assert (accuracy.engine_answers, accuracy.engine_alone) == (4, 0.5)
    assert (accuracy.final_answers, accuracy.final) == (3, pytest.approx(2 / 3))
    assert accuracy.gold_items == 5


def test_without_known_answers_there_is_no_accuracy() -> None:
    assert summary(row("accepted", answer="a")).accuracy is None
    only_failed = summary(row("failed", gold_label="a")).accuracy
    assert only_failed
    assert (only_failed.engine_alone, only_failed.final) == (None, None)


def test_a_summary_survives_json_to_the_last_digit() -> None:
    closed = summary(row("accepted", cost_usd=Decimal("0.000000000001")))
    assert Summary.model_validate_json(closed.model_dump_json()) == closed


def test_the_page_shows_every_route_and_warning() -> None:
    page = as_markdown(
        close(
            summarize(parts(row("accepted", cost_usd=Decimal("0.50")), row("review", cost_usd=None))), 2, "simulation"
        )
    )
    assert "| accepted | 1 | 0 | 0 | 0.5 |" in page
    assert "| review | 1 | 0 | 0 | unknown |" in page
    assert "| **all** | 2 | 0 | 0 | unknown |" in page
    assert "**Simulation**" in page


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "0"), ("0.000000000001", "0.000000000001"), ("1200.50", "1200.5"), ("100", "100"), (None, "unknown")],
)
def test_money_for_people(amount: str | None, text: str) -> None:
    assert usd(None if amount is None else Decimal(amount)) == text


def test_shares_for_people() -> None:
    assert (percent(0.4567), percent(None)) == ("45.7%", "-")


LABELS = ("a", "b", "c", "d")


def judged(*rows: dict[str, Any]) -> Summary:
    return close(summarize(parts(*rows, size=50), LABELS), len(rows))


def test_gold_values_that_are_no_label_are_counted_shown_and_left_out_of_accuracy() -> None:
    strangers = [row("accepted", gold_label=gold, answer="a", engine_answer="a") for gold in ("A\x1b" + "!" * 99, "1")]
    closed = judged(row("accepted", gold_label="a", answer="a", engine_answer="a"), *strangers, row("accepted"))
    assert closed.accuracy is not None
    assert (closed.accuracy.engine_alone, closed.accuracy.final, closed.accuracy.gold_items) == (1.0, 1.0, 1)
    assert closed.accuracy.strangers == 2
    assert closed.warnings == [
        f"2 gold values are no label of the job, e.g. 'A\\x1b{'!' * 35}...': accuracy is over the other 1. Write them "
        "as the labels are written, or name another evaluation.gold_column"
    ]


def test_accuracy_over_strangers_alone_is_unknown_and_not_zero() -> None:
    closed = judged(row("accepted", gold_label="A", answer="a", engine_answer="a"))
    assert closed.accuracy is not None
    assert (closed.accuracy.engine_alone, closed.accuracy.final, closed.accuracy.gold_items) == (None, None, 0)


def failed(path: str, line: int, reason: str) -> dict[str, Any]:
    place = f"{path}:{line}"
    return row("failed", document_uri=f"/data/in/{path}", document_id=place, reason=f"{place}: {reason}")


def test_reasons_are_counted_by_kind_whatever_place_number_or_name_they_hold() -> None:
    closed = judged(
        failed("x/a.jsonl", 3, "not UTF-8 at byte 52 of the line; convert it to UTF-8"),
        failed("b: c.jsonl", 4, "not UTF-8 at byte 7 of the line; convert it to UTF-8"),
        row("failed", document_uri="/data/in/a", reason="/data/in/a:9: id 'k' was there before; give it its own"),
        row("failed", document_uri="/data/in/a", reason="/data/in/a:8: id 'j' was there before; give it its own"),
        row("failed", document_uri="/data/in/a", reason="a: is empty; send it again or remove it"),
        row("withheld", reason="never_escalate: pii"),
        row("review", reason=None),
        *[row("accepted")] * 4,
    )
    assert [(each.route, each.items, each.reason, each.example) for each in closed.reasons] == [
        ("failed", 2, "not UTF-8 at byte 52 of the line; convert it to UTF-8", "x/a.jsonl:3"),
        ("failed", 2, "id 'k' was there before; give it its own", "d"),
        ("failed", 1, "is empty; send it again or remove it", "d"),
        ("withheld", 1, "never_escalate: pii", "d"),
        ("review", 1, "no reason", "d"),
    ]
    assert closed.problem is None
    assert "failed    2: not UTF-8 at byte 52 of the line; convert it to UTF-8 (such as x/a.jsonl:3)" in as_markdown(
        closed
    )


@pytest.mark.parametrize(("bad", "good", "is_problem"), [(5, 5, False), (6, 5, True), (1, 0, True), (0, 0, False)])
def test_more_than_half_failed_for_one_reason_is_a_problem(bad: int, good: int, is_problem: bool) -> None:
    closed = judged(*[failed("a.csv", n, "row has 3 fields") for n in range(bad)], *[row("accepted")] * good)
    assert (closed.problem is not None) == is_problem


def test_all_failed_for_many_reasons_is_a_problem_too() -> None:
    closed = judged(*(failed("a.csv", 1, f"{letter}; mend it") for letter in "pqrs"))
    assert closed.problem == "4 of 4 items failed, 1 of them alike: p; mend it (such as a.csv:1)"


def known(gold: str, engine: str) -> dict[str, Any]:
    return row("accepted", gold_label=gold, engine_answer=engine, answer=engine)


def test_an_engine_no_better_than_the_commonest_answer_is_called_that() -> None:
    (warning,) = judged(*[known("a", "a")] * 30, *[known("b", "a")] * 20).warnings
    assert warning == (
        "the engine's answers are not measurably better than chance: 30 of 50 agree with the gold labels, and one and "
        "the same answer for all would have 60.0%. Describe the labels, mend the instructions, or take a larger model"
    )
    assert judged(*[known("a", "a")] * 30, *[known("b", "b")] * 20).warnings == []
    assert judged(*[known("a", "b")] * 29).warnings == [], "of so few, anything may be chance"


def asked(claude: str, engine: str) -> dict[str, Any]:
    return row("escalated", answer=claude, engine_answer=engine, api_input_tokens=9)


def test_where_nearly_all_is_asked_the_run_says_so_and_what_claude_makes_of_the_engine() -> None:
    by_chance = [asked("abcd"[n % 4], "a") for n in range(40)]
    chance, spared = judged(*by_chance, row("accepted", engine_answer="a", answer="a")).warnings
    assert chance.startswith("the engine's answers are not measurably better than chance: 10 of 40 agree with Claude,")
    assert spared.startswith("Claude was asked about 97.6% of the items: the engine has spared next to nothing.")
    assert judged(*[asked("a", "b")] * 40, *[row("accepted", engine_answer="a", answer="a")] * 40).warnings == []


def test_a_run_without_an_engine_spares_nothing_by_intent() -> None:
    assert judged(*[row("escalated", answer="a", api_input_tokens=9)] * 40).warnings == []
