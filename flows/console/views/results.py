"""`pipeline results`: the rows as a table that fits the terminal, as text for programs, or as a file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from flows.console.printable import printable_json, printable_line
from flows.console.terminal import Terminal
from flows.console.views.cost import rounded
from pipelines.errors import JobError
from pipelines.job.job_file import parse_job
from pipelines.report.page import usd
from pipelines.store import layout
from pipelines.store.result_rows import FILE_FORMATS, FileFormat, ResultRows, as_json, result_rows, text_of, write_file
from pipelines.store.runs import open_store, question_stores
from pipelines.store.schemas import from_arrow
from pipelines.tasks.code_review.publication.selection import select
from pipelines.tasks.code_review.tables import findings_of

Format = Literal["table", "jsonl", "csv", "parquet", "arrow"]
_SHOWN_ROWS = 10
_SHOWN_COLUMNS = ("document_id", "answer", "route", "confidence", "cost_usd", "reason")
_LEAST_WIDTH = 8  # of a column of text, which is cut to a snippet
_BORDERS = 3  # of each column
_MONEY = ("gpu_cost_usd", "first_tier_cost_usd", "api_cost_usd", "cost_usd")


def show_results(
    terminal: Terminal,
    run: str,
    *,
    routes: list[str],
    columns: str | None,
    limit: int | None,
    form: Format | None,
    output: Path | None,
) -> None:
    """Rows of a run, where and how they are wanted."""
    form = form or (_format_of(output) if output else "table")
    if form == "table" and output:
        raise JobError(["--format: a table is for the screen; give jsonl, csv, parquet or arrow"], source="the command")
    if form in ("parquet", "arrow") and not output:
        raise JobError([f"--format: {form} is for programs; say into which file, with -o"], source="the command")
    names = [name.strip() for name in columns.split(",") if name.strip()] if columns else []
    if form == "table":
        wanted = result_rows(run, names or _shown_columns(run), routes, limit or _SHOWN_ROWS)
        _show_table(terminal, run, wanted)
        if not names:
            _show_findings(terminal, run, wanted)
        return
    wanted = result_rows(run, names, routes, limit)
    if output:
        count = write_file(wanted, output, form)
        terminal.progress.say(f"{count:,} rows written to {output}")
    else:
        _print_text(terminal, wanted, form)
    if not wanted.is_whole:
        terminal.progress.say("warning   the run is not complete: these are the rows so far")


def _shown_columns(run: str) -> Sequence[str]:
    """With what is asked, where that is more than one thing."""
    if not question_stores(open_store(run)):
        return _SHOWN_COLUMNS
    first, *others = _SHOWN_COLUMNS
    return [first, "question", "label", *others]


def _format_of(output: Path) -> FileFormat:
    suffix = output.suffix.removeprefix(".").lower()
    for each in FILE_FORMATS:
        if suffix == each:
            return each
    told = f"-o: '{output.name}' does not say what it is; name it .{', .'.join(FILE_FORMATS)}, or give --format"
    raise JobError([told], source="the command")


def _print_text(terminal: Terminal, wanted: ResultRows, form: FileFormat) -> None:
    for number, table in enumerate(wanted.tables()):
        for piece in text_of(table, form, is_first=not number):
            text = piece.decode()
            terminal.show_document(printable_json(text) if form == "jsonl" else text, [])


def _show_table(terminal: Terminal, run: str, wanted: ResultRows) -> None:
    rows = [{name: _cell(name, value) for name, value in row.items()} for row in wanted.rows()]
    widths = {name: max(len(name), *(len(row[name]) for row in rows), 0) for name in wanted.columns}
    shown, left_out = fitting(widths, terminal.console.width, _texts(wanted))
    table = Table()
    for name, width in shown.items():
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        # Text, not markup: a document's id may hold anything.
        table.add_row(*(Text(row[name]) for name in shown))
    terminal.console.print(table)
    say = terminal.progress.say
    if left_out:
        say(f"left out  for want of width: {', '.join(left_out)}; --columns chooses, -o FILE writes all of them")
    total, matching = wanted.counts()
    root = wanted.store.uri(layout.RESULTS)
    if wanted.routes:
        say(f"{matching:,} of {total:,} rows took the route {' or '.join(wanted.routes)}; {len(rows):,} shown")
    say(f"{total:,} rows in {root}" + ("" if wanted.is_whole else " so far: the run is not complete"))
    if wanted.is_whole and (waiting := wanted.waiting()):
        which = f"{run}.QUESTION, one question at a time" if wanted.answers_of else run
        say(f"review    {waiting:,} rows wait for a person: pipeline review {which}")
    form = ", format='ipc'" if wanted.is_arrow else ""
    code = f"import pyarrow.dataset as d; print(d.dataset('{root}'{form}).to_table().num_rows)"
    say(f'read them with   python -c "{code}"')


def _show_findings(terminal: Terminal, run: str, wanted: ResultRows) -> None:
    """Of a code review that is published: what it reports, the worst first, each with its document and place."""
    if not wanted.store.exists(layout.FINDINGS):
        return
    job = parse_job(wanted.store.read(layout.JOB).decode(errors="replace"), wanted.store.uri(layout.JOB))
    reported = select(findings_of(from_arrow(wanted.store.read(layout.FINDINGS))), job.reviews.threshold).published
    found = [each for each in reported if not wanted.routes or each.route in wanted.routes]
    shown = found[: wanted.limit]
    terminal.progress.say("")
    for each in shown:
        finding = each.finding
        end = f"-{finding.end_line}" if finding.end_line != finding.line else ""
        what = f"{finding.path}:{finding.line}{end} {finding.category} in {each.document_id}: {finding.message}"
        terminal.progress.say(f"{finding.severity:<9} {printable_line(what)}")
    told = f"{len(shown):,} of {len(found):,} findings, the worst first"
    terminal.progress.say(f"{told}; pipeline results {run} --sarif prints all that are reported")


def fitting(widths: dict[str, int], room: int, texts: Collection[str]) -> tuple[dict[str, int], list[str]]:
    """Widths that fit, and the columns that found no room. Of the columns of text, the widest is cut first."""
    shown, left_out = dict(widths), list[str]()
    while sum(shown.values()) + _BORDERS * len(shown) + 1 > room:
        widest = max((name for name in shown if name in texts), key=lambda name: shown[name], default=None)
        if widest is not None and shown[widest] > _LEAST_WIDTH:
            shown[widest] -= 1
        elif len(shown) > 1:
            left_out.insert(0, shown.popitem()[0])
            shown = {name: widths[name] for name in shown}
        else:
            break
    return shown, left_out


def _texts(wanted: ResultRows) -> set[str]:
    """Columns of which a part says something, unlike one of a number."""
    types = {field.name: str(field.type) for field in wanted.schema}
    return {name for name, kind in types.items() if kind.startswith(("string", "list", "timestamp"))} - {"route"}


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "" if name == "reason" else "-"
    if name in _MONEY:
        return usd(rounded(value))
    if isinstance(value, float):
        return f"{value:.3f}"
    return printable_line(as_json(value) if isinstance(value, list) else str(value))
