"""What a person sees of `pipeline init`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flows.console.printable import printable_line
from pipelines.job.draft import quoted, shown_columns

if TYPE_CHECKING:
    from flows.preflight.drafting import Drafted

_SHOWN_LABELS = 10


def show_drafted(drafted: Drafted, command: str, say: Callable[[str], object]) -> None:
    """What was seen and guessed, where to look, and what comes next."""
    draft, path = drafted.draft, printable_line(str(drafted.path))
    say(f"looked    at {draft.seen.removeprefix('a look at ')}")
    for problem in drafted.unread:
        say(f"warning   {printable_line(problem)}")
    if draft.columns:
        say(f"columns   {shown_columns(draft.columns)}")
        say(f"text      {quoted(str(draft.text))}")
        say(f"id        {'path:line' if draft.id is None else quoted(draft.id)}")
    if draft.labels:
        shown = [
            f"{quoted(name)} {count:,}" if count else quoted(name)
            for name, count in list(draft.labels.items())[:_SHOWN_LABELS]
        ]
        more = len(draft.labels) - len(shown)
        which = "" if draft.gold is None else f"values of {quoted(draft.gold)}: "
        say(f"labels    {len(draft.labels)}, {which}{', '.join(shown)}{f' and {more} more' if more else ''}")
    elif draft.task == "classification":
        say(f"labels    none: {printable_line(draft.about_labels or 'no column looks like one')}")
    say(f"written   {path}")
    if drafted.to_check:
        say(f"check     line {', '.join(map(str, drafted.to_check))}: a guess, and why it is in doubt")
    if drafted.is_ready:
        say(f"next      {command} doctor {path}")
        say(f"          {command} submit {path}")
    else:
        say(f"next      fill in the labels in {path}, of which at least two are needed; then")
        say(f"          {command} submit {path}")
