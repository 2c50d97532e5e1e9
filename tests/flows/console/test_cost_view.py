"""`pipeline cost RUN --compare` and `pipeline prices`, as a person and a program see them."""

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.dataset as dataset
import pytest

from flows.console.views.cost import rounded
from pipelines.costs.price_book import price_book
from pipelines.report.summary import Summary
from pipelines.settings import settings
from pipelines.store.layout import ResultFormat
from tests.command_here import Pipeline, pipeline
from tests.made_up_run import accepted, escalated, failed, write_run

__all__ = ["pipeline"]

FORMS: tuple[ResultFormat, ...] = ("parquet", "arrow")
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "made-up"


def odd_run(root: Path, **job: Any) -> Summary:
    """Two parts whose sums have digits in every place."""
    parts = [
        [*map(accepted, range(70)), *map(failed, range(900, 907))],
        [*map(escalated, range(70, 103)), accepted(500, cost_usd=Decimal("0.000000000001"), route="withheld")],
    ]
    return write_run(root, parts, job, held_seconds=0.4)


def test_rows_summary_cost_and_comparison_are_one_number_to_the_last_digit(root: Path, pipeline: Pipeline) -> None:
    summary = odd_run(root)
    table = dataset.dataset(f"{root}/results").to_table(columns=["gpu_cost_usd", "api_cost_usd", "cost_usd"])
    engine, claude, total = (sum(table[name].to_pylist()) for name in table.column_names)
    assert str(total)[-1] != "0", "no digit is left out by luck"
    assert (summary.gpu_cost_usd, summary.api_cost_usd, summary.cost_usd) == (engine, claude, total)
    by_route = json.loads(pipeline("cost", str(root), "--json"))
    assert Decimal(by_route["cost_usd"]) == total
    assert sum(Decimal(route["cost_usd"]) for route in by_route["routes"].values()) == total
    assert re.search(rf"│ all +│ +111 │ +{engine} │ +{claude} │ +{total} │", pipeline("cost", str(root)))
    was = json.loads(pipeline("cost", str(root), "--compare", "--json"))["as_it_was"]
    assert [Decimal(was[name]) for name in ("engine_busy_usd", "claude_usd", "total_usd")] == [engine, claude, total]
    assert f"as it was: {total} USD by its rows" in pipeline("cost", str(root), "--compare")


def test_a_run_whose_parts_are_arrow_is_read_by_every_command_alike(tmp_path: Path, pipeline: Pipeline) -> None:
    rows = [
        [*map(accepted, range(5)), failed(9)],
        [*map(escalated, range(10, 13)), accepted(14, route="review", answer=None)],
    ]
    shown = []
    for form in FORMS:
        root = tmp_path / form / "made-up"
        write_run(root, rows, form=form)
        assert {path.suffix for path in (root / "results").iterdir()} == {f".{form}"}
        said = [
            pipeline("results", str(root), "--json"),
            pipeline("cost", str(root), "--compare", "--json"),
            pipeline("results", str(root), "--route", "failed"),
            pipeline("review", str(root), "--json"),
        ]
        (code,) = re.findall(r'python -c "(.*?)"', said[2].replace("\n", " "))
        shown.append([each.replace(str(root), "RUN") for each in (said[0], said[1], said[3])])
        assert ("format='ipc'" in code) == (form == "arrow")
        with redirect_stdout(io.StringIO()) as counted:
            exec(code)  # as a person would copy it
        assert counted.getvalue() == "10\n"
    assert shown[0] == shown[1]


def test_money_in_json_is_exact_text_without_exponents_or_idle_zeros(root: Path, pipeline: Pipeline) -> None:
    odd_run(root)
    summary = (root / "summary.json").read_text()
    for shown in (summary, pipeline("cost", str(root), "--json"), pipeline("cost", str(root), "--compare", "--json")):
        amounts = re.findall(r'_usd": "?([^",\n]+)', shown)
        assert amounts
        assert [each for each in amounts if not re.fullmatch(r"(0|[1-9]\d*)(\.\d*[1-9])?|null", each)] == []
    assert json.loads(summary)["routes"]["failed"]["cost_usd"] == "0"


def test_the_tables_fit_a_terminal_of_eighty_columns_and_cut_no_name(root: Path, pipeline: Pipeline) -> None:
    odd_run(root)
    for command in (("cost", str(root), "--compare"), ("prices",)):
        shown = pipeline(*command)
        assert "…" not in shown
        assert "E-" not in shown
        rows = [line for line in shown.splitlines() if re.match(r"(claude|qwen)\S* .*\d", line)]
        assert len(rows) >= 20
        assert max(map(len, rows)) <= 80
        for row in price_book().price:
            assert re.search(rf"^{row.model} ", shown, flags=re.MULTILINE), row.model
    assert "not in the book: qwen3.5-4b, qwen3.5-2b, " in pipeline("prices")


def numbers(content: Any) -> list[str]:
    if isinstance(content, dict | list):
        return [each for part in (content.values() if isinstance(content, dict) else content) for each in numbers(part)]
    return [content] if isinstance(content, str) and re.fullmatch(r"-?[\d.]+(E[-+]?\d+)?", content) else []


def test_json_has_the_same_and_no_number_that_a_person_could_not_read(root: Path, pipeline: Pipeline) -> None:
    odd_run(root)
    said = json.loads(pipeline("cost", str(root), "--compare", "--json"))
    assert {(each["kind"], bool(each["usd_per_million_documents"])) for each in said["alternatives"]} == {
        ("claude", True),
        ("hosted", True),
        ("hosted", False),
    }
    made = [said["usd_per_million_documents"], *(each["usd_per_million_documents"] for each in said["alternatives"])]
    for number in numbers(made):
        assert re.fullmatch(r"\d+(\.\d{1,2})?|0\.0*\d{1,3}", number), number
    assert not [number for number in numbers(said) if "E" in number]
    haiku = next(each for each in said["alternatives"] if each["model"] == "claude-haiku-5-5")
    crossing = haiku["engine_alone_pays"]
    assert crossing["from_documents_per_month"] == pytest.approx(730 * crossing["from_documents_per_hour"], rel=1e-3)
    listed = json.loads(pipeline("prices", "--json"))
    assert {each["kind"] for each in listed["prices"]} == {"claude", "fast", "hosted"}
    assert all(each["source"] and each["checked_on"] and each["valid_from"] for each in listed["prices"])
    assert listed["not_in_the_book"][0] == "qwen3.5-4b"


def test_a_missing_price_names_what_gives_it(root: Path, pipeline: Pipeline) -> None:
    rows = [accepted(1, gpu_cost_usd=None, cost_usd=None), escalated(2, api_cost_usd=None, cost_usd=None)]
    write_run(root, [rows], {"compute": {}}, held_seconds=1.0)
    shown = pipeline("cost", str(root), "--compare")
    assert "set compute.device_hour_usd in the job, or hour_usd under [gpu] in the file of SLUICE_PRICES" in shown
    assert "add a [[price]] row for its model to the file of SLUICE_PRICES" in shown
    assert re.search(r"^engine while busy, and Claude +unknown +as it was: unknown", shown, flags=re.MULTILINE)
    assert re.search(r"^claude-haiku-5-5 +[\d.]+ +[\d.]+ +unknown *$", shown, flags=re.MULTILINE)
    said = json.loads(pipeline("cost", str(root), "--compare", "--json"))
    assert said["as_it_was"] == dict.fromkeys(said["as_it_was"])
    assert said["gpu_hour_usd"] is None
    assert "compute.device_hour_usd" in said["gpu_price_of"]


def test_an_empty_run_and_one_of_failures_are_shown_too(tmp_path: Path, pipeline: Pipeline) -> None:
    for name, rows in (("empty", []), ("failed", [failed(1)])):
        write_run(tmp_path / name, [rows], held_seconds=0.0)
        assert f"like the {len(rows)} here" in pipeline("cost", str(tmp_path / name), "--compare")


def test_a_run_that_is_not_complete_is_refused(root: Path, pipeline: Pipeline) -> None:
    odd_run(root)
    (root / "summary.json").unlink()
    assert "is not complete yet" in pipeline("cost", str(root), "--compare", exit_code=2)


def test_rows_that_were_added_or_lost_since_are_told_from_the_summary(root: Path, pipeline: Pipeline) -> None:
    odd_run(root)
    (root / "results/part-00001-scored.parquet").unlink()
    assert "its 77 rows cost" in pipeline("cost", str(root), "--compare", exit_code=1)


def test_prices_of_ones_own_are_shown_beside_what_they_stand_for(
    root: Path, tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_run(root)
    (tmp_path / "prices.toml").write_text(
        '[[hosted]]\nprovider = "openrouter"\nmodel = "qwen3.5-flash"\nvalid_from = 2026-11-01\ninput = 0.05\n'
        'output = 0.2\nsource = "contract 7"\n[gpu]\nhour_usd = 1.99\n'
    )
    monkeypatch.setenv("SLUICE_PRICES", str(tmp_path / "prices.toml"))
    settings.cache_clear()
    price_book.cache_clear()
    try:
        shown = pipeline("prices")
        assert re.search(r"^qwen3\.5-flash .* 0\.05/0\.2 +2026-11-01 +\[\d\], yours, not 0\.065/0\.26", shown, re.M)
        assert re.search(r"^qwen3\.5-flash .* 0\.065/0\.26 .*\[\d\], replaced by yours", shown, re.M)
        assert f"{tmp_path}/prices.toml: contract 7" in shown
        compared = json.loads(pipeline("cost", str(root), "--compare", "--json"))
        assert (compared["gpu_hour_usd"], compared["gpu_price_of"]) == ("1.99", f"{tmp_path}/prices.toml")
        (tmp_path / "prices.toml").write_text("[gpu]\nhour = 1\n")
        price_book.cache_clear()
        assert "line 2: gpu.hour: no such field" in pipeline("prices", exit_code=2)
    finally:
        settings.cache_clear()
        price_book.cache_clear()


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "0.00"), ("16.6995", "16.70"), ("0.26233", "0.262"), ("0.0000012349", "0.00000123"), ("1234.5", "1234.50")],
)
def test_amounts_are_rounded_to_what_a_person_reads(amount: str, shown: str) -> None:
    assert f"{rounded(Decimal(amount)):f}" == shown


@pytest.mark.processes
def test_reading_a_run_loads_no_engine_and_no_order(root: Path) -> None:
    odd_run(root)
    code = (
        "import sys; from flows.cli import app\n"
        "for command in (['cost'], ['cost', '--compare'], ['results']):\n"
        f"    try: app([command[0], {str(root)!r}, *command[1:]])\n"
        "    except SystemExit as ended: assert not ended.code\n"
        "heavy = {'ray', 'prefect', 'vllm', 'torch', 'transformers', 'anthropic', 'boto3'}\n"
        "assert not heavy & {name.partition('.')[0] for name in sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
