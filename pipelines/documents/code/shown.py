"""The text in which code is shown to a model, and its inverse.

    @message                                     what follows was said by the author of the change
    #|Fix the rounding
    @file "src/price.py" modified                or added, deleted, renamed from "…", copied from "…", whole
    @note mode 100644 -> 100755
    @@|def total(items):                         a hunk, and what it stands in
    11 |    total = 0                            unchanged: line 11 of the new file
    -|    for item in items[1:]:                 removed
    12+|    for item in items:                   added: line 12 of the new file
    @no-newline                                  the line above ends the file without a newline

Every line starts with ``@`` (ours), or with a number or sign and a bar, after which everything is the document's:
no line of a document can look like one of ours, whatever it holds. Nothing that any reader takes for a line break
survives within a line. A text is all there is to keep: files, lines and numbers are read back from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import cast, get_args

from pipelines.documents.code.records import NO_NEWLINE, Change, CodeFile, CodeLine, Hunk, Sign, Status
from pipelines.errors import InvariantError

_LAST_LINE_OPEN = "@no-newline"
_LINE = re.compile(r"(?:(?P<number>\d+)(?P<kept>[ +])|(?P<removed>-))\|(?P<text>.*)")
_FILE = re.compile(
    rf'@file (?P<path>"(?:[^"\\]|\\.)*") (?P<status>{"|".join(get_args(Status))})(?: from (?P<old>".*"))?'
)
# C0 controls but the tab become their pictures (U+2400 on), as do DEL and the line breaks of Unicode.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code != 0x09} | {
    0x7F: 0x2421,
    0x85: 0x2424,
    0x2028: 0x2424,
    0x2029: 0x2424,
}


def visible(text: str) -> str:
    """The text in one line: control characters and line breaks as their pictures (a carriage return as ␍)."""
    return text.translate(_PICTURES)


def shown_text(change: Change) -> str:
    """The change as text; see the top of this module."""
    return "".join(f"{line}\n" for line in _shown_lines(change))


def _shown_lines(change: Change) -> Iterator[str]:
    yield from message_lines(change)
    for file in change.files:
        yield from head_lines(file)
        for hunk in file.hunks:
            yield hunk_line(hunk.heading)
            yield from map(code_line, hunk.lines)


def message_lines(change: Change) -> list[str]:
    """The frame's lines for the message; none where there is no message."""
    return ["@message", *(f"#|{visible(line)}" for line in change.message)] if change.message else []


def head_lines(file: CodeFile) -> list[str]:
    """The frame's lines above a file's hunks."""
    old = f" from {_quoted(file.old_path)}" if file.old_path is not None else ""
    return [f"@file {_quoted(file.path)} {file.status}{old}", *(f"@note {visible(note)}" for note in file.notes)]


def hunk_line(heading: str) -> str:
    """The frame's line above a hunk's lines."""
    return f"@@|{visible(heading)}" if heading else "@@"


def code_line(line: CodeLine) -> str:
    """One line of code within its frame."""
    if line == NO_NEWLINE:
        return _LAST_LINE_OPEN
    number = "" if line.number is None else line.number
    return f"{number}{line.sign}|{visible(line.text)}"


def _quoted(path: str) -> str:
    return visible(json.dumps(path, ensure_ascii=False))


def read_shown(text: str) -> Change:
    """The inverse of `shown_text`, but for control characters, which stay pictures.

    Raises:
        InvariantError: the text is not one that `shown_text` gave.
    """
    message: list[str] = []
    files: list[_OpenFile] = []
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        if line.startswith("#|"):
            message.append(line[2:])
        elif head := _FILE.fullmatch(line):
            files.append(_OpenFile(head))
        elif line != "@message" and not (files and files[-1].take(line)):
            raise InvariantError(f"shown code has a line {number} that is none of ours; plan the run again")
    return Change(tuple(message), tuple(file.close() for file in files))


class _OpenFile:
    """A file whose lines are still being read."""

    def __init__(self, head: re.Match[str]) -> None:
        self._head = head
        self._notes: list[str] = []
        self._hunks: list[tuple[str, list[CodeLine]]] = []

    def take(self, line: str) -> bool:
        """Take the next line; False if it belongs to no file."""
        if line.startswith("@note "):
            self._notes.append(line.removeprefix("@note "))
        elif line == "@@" or line.startswith("@@|"):
            self._hunks.append((line[3:], []))
        elif self._hunks and (parsed := _read_code_line(line)):
            self._hunks[-1][1].append(parsed)
        else:
            return False
        return True

    def close(self) -> CodeFile:
        old = self._head["old"]
        return CodeFile(
            path=json.loads(self._head["path"]),
            status=cast(Status, self._head["status"]),
            hunks=tuple(Hunk(heading, tuple(lines)) for heading, lines in self._hunks),
            old_path=json.loads(old) if old is not None else None,
            notes=tuple(self._notes),
        )


def _read_code_line(line: str) -> CodeLine | None:
    if line == _LAST_LINE_OPEN:
        return NO_NEWLINE
    parsed = _LINE.fullmatch(line)
    if parsed is None:
        return None
    number = parsed["number"]
    return CodeLine(int(number) if number else None, cast(Sign, parsed["kept"] or parsed["removed"]), parsed["text"])


class LineMap:
    """Which lines of which new files a shown text holds: what a finding's ``path`` and ``line`` are checked against."""

    def __init__(self, change: Change) -> None:
        self._lines: dict[str, dict[int, str]] = {}
        for file in change.files:
            lines = self._lines.setdefault(file.path, {})
            lines |= {line.number: line.text for hunk in file.hunks for line in hunk.lines if line.number is not None}

    @classmethod
    def of(cls, text: str) -> LineMap:
        """The lines of a shown text (an item's or a piece's)."""
        return cls(read_shown(text))

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files shown, in their order."""
        return tuple(self._lines)

    def contains(self, path: str, line: int) -> bool:
        """Whether the line of the new file is shown, changed or not."""
        return line in self._lines.get(path, ())

    def text_at(self, path: str, line: int) -> str | None:
        """The line as it is shown, without its frame; None if it is not shown."""
        return self._lines.get(path, {}).get(line)
