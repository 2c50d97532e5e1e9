"""Questions to a person at the terminal; whoever is not one is not asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import typer

from flows.console.printable import printable_line


@dataclass(frozen=True)
class Asker:
    """Asks on standard input, if that is a terminal."""

    say: Callable[[str], object]

    @property
    def is_there(self) -> bool:
        """Whether anybody could answer a question."""
        return sys.stdin.isatty()

    def choose(self, question: str, choices: Sequence[str]) -> str:
        """One of the choices, by number or name; the first is what Enter means."""
        self.say(question)
        for number, choice in enumerate(choices, start=1):
            self.say(f"  {number}  {printable_line(choice)}")
        while True:
            answer = self.line("number or name", default="1")
            if answer in choices:
                return answer
            if answer.isdecimal() and 1 <= int(answer) <= len(choices):
                return choices[int(answer) - 1]
            self.say(f"one of the numbers 1 to {len(choices)} is expected")

    def line(self, question: str, default: str = "") -> str:
        """One line; the default at its end, too (Ctrl-D)."""
        try:
            return str(typer.prompt(question, default=default, show_default=bool(default))).strip()
        except typer.Abort:
            return default
