"""What others wrote reaches a terminal as text: on every way out, nothing in it is obeyed."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flows.console.printable import printable, printable_json, printable_line
from flows.console.progress import ProgressReporter
from flows.console.terminal import Terminal
from flows.console.views.results import show_results
from tests.made_up_run import accepted, write_run

HOSTILE = {
    "an escape sequence": ("\x1b[2Jid", r"\x1b[2Jid"),
    "a title": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "a C1 sequence": ("\x9b31mred", r"\x9b31mred"),
    "a carriage return": ("bad\rgood", r"bad\rgood"),
    "backspaces": ("no\x08\x08yes", r"no\x08\x08yes"),
    "a bell": ("\x07", r"\x07"),
    "delete": ("\x7f", r"\x7f"),
    "reordering": ("\u202egnp.exe", r"\u202egnp.exe"),
    "isolation": ("\u2066a\u2069", r"\u2066a\u2069"),
    "a mark of direction": ("\u200fa\u061c", r"\u200fa\u061c"),
    "a line of another kind": ("a\u2028b", r"a\u2028b"),
    "tags": ("\U000e0041", r"\U000e0041"),
    "a name that is not UTF-8": ("caf\udce9", r"caf\udce9"),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == printable_line(text) == shown


@pytest.mark.parametrize("text", ["plain", "caf\u00e9 \u65e5\u672c \u05e9\u05dc\u05d5\u05dd \u26a0\ufe0f", "a\tb\nc"])
def test_other_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_in_one_line_there_are_no_others() -> None:
    assert printable_line("a\nstate     complete\tb") == r"a\nstate     complete\tb"


@given(st.text())
def test_json_means_the_same_afterwards(text: str) -> None:
    document = json.dumps({"id": text}, ensure_ascii=False, indent=2)
    assert json.loads(printable_json(document)) == {"id": text}
    assert printable(printable_json(document)) == printable_json(document)


def test_progress_says_it_safely() -> None:
    screen = io.StringIO()
    ProgressReporter(Console(file=screen)).say("run a\x1b[2Jb: [red]\x9bq")
    assert screen.getvalue() == "run a\\x1b[2Jb: [red]\\x9bq\n"


@pytest.fixture
def shown_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """What a command's terminal writes to standard output and error, both kept in files."""
    monkeypatch.setenv("COLUMNS", "200")
    kept = [os.dup(number) for number in (1, 2)]

    def show(use: Callable[[Terminal], object], *, as_json: bool = False) -> str:
        path = tmp_path / "screen"
        screen = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(screen, number)
        try:
            terminal = Terminal(as_json=as_json, keep_output=True)
            use(terminal)
            for file in (terminal.console.file, terminal._out, terminal._err):
                file.close()
        finally:
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
            os.close(screen)
        return path.read_text(encoding="utf-8")

    yield show
    for copy in kept:
        os.close(copy)


ROW: dict[str, Any] = {
    "document_id": "\x1b]0;owned\x07\u202e1",
    "answer": "bill\x9bing",
    "route": "failed",
    "confidence": None,
    "raw_prob": None,
    "cost_usd": Decimal(0),
    "reason": "line\r\nbreak\x1b[8m",
}


def is_safe(text: str) -> bool:
    return printable(text) == text


def show_row(terminal: Terminal, root: Path, form: Literal["table", "jsonl"]) -> None:
    write_run(root, [[accepted(1, **ROW)]])
    show_results(terminal, str(root), routes=[], columns=None, limit=None, form=form, output=None)


def test_no_cell_of_the_results_is_obeyed(shown_by: Callable[..., str], tmp_path: Path) -> None:
    screen = shown_by(lambda terminal: show_row(terminal, tmp_path / "run", "table"))
    assert is_safe(screen)
    assert "owned" in screen


def test_neither_are_rows_as_json(shown_by: Callable[..., str], tmp_path: Path) -> None:
    screen = shown_by(lambda terminal: show_row(terminal, tmp_path / "run", "jsonl"), as_json=True)
    assert is_safe(screen)
    assert json.loads(screen)["reason"] == ROW["reason"]


def test_nor_is_an_error(shown_by: Callable[..., str]) -> None:
    screen = shown_by(lambda terminal: terminal._complain("pipeline: no file '\x1b[2J\udce9'"))
    assert screen == "pipeline: no file '\\x1b[2J\\udce9'\n"
