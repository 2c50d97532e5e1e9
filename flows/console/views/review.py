"""`pipeline review`: what waits for a person, as a file, from a file, or one by one on the screen."""

from __future__ import annotations

import os
import pwd
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.control import Control

from flows.console.keys import whole_screen
from flows.console.printable import printable_line
from flows.console.review_screen import LABEL_KEYS, ReviewScreen
from flows.console.terminal import Terminal
from pipelines.errors import JobError
from pipelines.people.filled import import_answers
from pipelines.people.forms import export_items
from pipelines.people.waiting import AskedRun, open_asked
from pipelines.report.numbers import count
from pipelines.routes import Route

_MOST_NAME = 100


def review_run(
    terminal: Terminal,
    run: str,
    *,
    export: str | None,
    filled: Path | None,
    person: str | None,
    with_withheld: bool,
    with_answered: bool,
    as_json: bool,
) -> None:
    """Export, import, or ask at the terminal; where nobody sits at one, say what waits."""
    person = _person(person)
    asked = open_asked(run)
    counts: dict[str, int] = {}
    if filled:
        imported = import_answers(asked, filled, person, datetime.now(UTC))
        counts = {"kept": imported.kept, "known": imported.known, "unanswered": imported.unanswered}
    elif export:
        chosen = asked.chosen(with_withheld=with_withheld, with_answered=with_answered)
        counts = {"exported": export_items(asked, chosen, export) if chosen else 0}
    elif not as_json and sys.stdin.isatty() and terminal.console.is_terminal:
        chosen = asked.chosen(with_withheld=with_withheld, with_answered=with_answered)
        counts = {"kept": _ask(terminal.console, asked, chosen, person)} if chosen else {}
    if as_json:
        terminal.show_json({"run_id": asked.run_id, **counts, **_standing(asked)})
        return
    for line in _told(asked, counts, export, person, run):
        terminal.progress.say(line)


def _ask(console: Console, asked: AskedRun, chosen: list[str], person: str) -> int:
    if len(asked.labels) > len(LABEL_KEYS):
        problem = f"{len(asked.labels)} labels are more than there are keys; answer in a file: --export FILE.csv"
        raise JobError([problem], source="the command")
    screen = ReviewScreen(asked, chosen, person, lambda: datetime.now(UTC))
    with whole_screen(console) as keyboard:
        is_open, shown = True, (0, 0)
        key: str | None = ""
        while is_open:
            size = console.size
            if key is not None or shown != size:
                _draw(console, screen)
                shown = size
            key = keyboard.key()
            is_open = key is None or screen.press(key)
    return screen.kept


def _draw(console: Console, screen: ReviewScreen) -> None:
    console.control(Control.clear(), Control.home())
    lines = screen.lines(*console.size)
    for number, line in enumerate(lines, start=1):
        console.print(line, no_wrap=True, crop=True, end="\n" if number < len(lines) else "")
    console.file.flush()


def _standing(asked: AskedRun) -> dict[str, int]:
    answered = asked.answers.by_item
    waiting = [row["route"] for item_id, row in asked.rows.items() if item_id not in answered]
    return {
        "waiting": waiting.count(Route.REVIEW),
        "withheld": waiting.count(Route.WITHHELD),
        "answered": len(answered),
    }


def _told(asked: AskedRun, counts: dict[str, int], export: str | None, person: str, run: str) -> list[str]:
    standing = _standing(asked)
    return [*_done(counts, export, person), _left(asked.run_id, standing), *_next(counts, standing, run)]


def _done(counts: dict[str, int], export: str | None, person: str) -> list[str]:
    if "unanswered" in counts:
        known = f"; {counts['known']:,} known already" if counts["known"] else ""
        empty = f"; {count(counts['unanswered'], 'row')} without one" if counts["unanswered"] else ""
        return [f"kept      {count(counts['kept'], 'answer')}{known}{empty}"]
    if "kept" in counts:
        return [f"kept      {count(counts['kept'], 'answer')} by {printable_line(person)}"]
    if "exported" in counts:
        return [
            f"written   {count(counts['exported'], 'item')} to {export}" if counts["exported"] else "written   no file"
        ]
    return []


def _left(run_id: str, standing: dict[str, int]) -> str:
    waiting = standing["waiting"]
    wait = f"{waiting:,} items wait" if waiting > 1 else f"{'1' if waiting else 'no'} item waits"
    answered = f"; answered: {standing['answered']:,}" if standing["answered"] else ""
    withheld = (
        f"; withheld from Claude by a policy: {standing['withheld']:,} (--withheld)" if standing["withheld"] else ""
    )
    return f"review    {wait} for a person in {run_id}{answered}{withheld}"


def _next(counts: dict[str, int], standing: dict[str, int], run: str) -> list[str]:
    if counts.get("exported"):
        return [f"next      fill in `answer`, then pipeline review {run} --import FILE"]
    lines = []
    if standing["waiting"]:
        lines.append(f"pipeline review {run}   asks in a terminal; --export FILE.csv writes a file")
    if standing["answered"]:
        lines.append(f"pipeline results {run} --route review --columns document_id,answer,person")
    return [f"{'next' if not number else '':<9} {line}" for number, line in enumerate(lines)]


def _person(given: str | None) -> str:
    """Who answers: as given, or the name of the account.

    Raises:
        JobError: it is no name.
    """
    if given is None:
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container runs as a number that nobody has a name for
            return f"uid {os.getuid()}"
    name = given.strip()
    if not name or len(name) > _MOST_NAME or printable_line(name) != name:
        raise JobError([f"--as: give a name of 1 to {_MOST_NAME} characters that can be shown"], source="the command")
    return name
