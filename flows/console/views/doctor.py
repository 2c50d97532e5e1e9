"""What a person sees of `pipeline doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from flows.console.printable import printable_line

if TYPE_CHECKING:
    from flows.preflight.doctor import Diagnosis

_MARKS = {"ok": ("ok", "green"), "warning": ("look", "yellow"), "wrong": ("WRONG", "red"), "skipped": ("-", "dim")}


def show_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """One line a check, and below what is not as it should be, what mends it."""
    for check in diagnosis.checks:
        word, colour = _MARKS[check.state]
        line = Text.assemble((f"{word:<6}", colour), f"{check.name:<9} ", printable_line(check.what.replace("\n", " ")))
        console.print(line, soft_wrap=True)
        if check.mend:
            console.print(Text(f"{'':<16}-> {printable_line(check.mend)}"), soft_wrap=True)
    wrong = sum(check.state == "wrong" for check in diagnosis.checks)
    told = "a run could start" if diagnosis.could_start else f"a run could not start: {wrong} to mend"
    console.print(Text(told), soft_wrap=True)
