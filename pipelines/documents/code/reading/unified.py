"""The lines of a unified diff to its files and hunks, read as `git apply` and `patch` read them.

In: lines. Out: per file the names as they stand in its headers, and numbered lines. A hunk ends when the counts of its
header are met; whatever stands between that and the next header (a signature, a list, words) is prose and no part of
the diff. What the names mean is the matter of `pipelines.documents.code.reading.patch_paths`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipelines.documents.code.records import NO_NEWLINE, CodeLine, Hunk, Sign
from pipelines.documents.readers.lines import Unreadable

MAKE_AGAIN = "make the diff again"
DEV_NULL = "/dev/null"
_MAX_HEADER_CHARACTERS = 9_000  # two paths of 4,096
_MAX_LINE_NUMBER = 1_000_000_000
_MAX_HEADING_CHARACTERS = 200
# `patch` takes so many lines missing at the end of a text for empty ones that something took off.
_MAX_CHOPPED_LINES = 2
_HUNK = re.compile(r"@@ -(\d{1,18})(?:,(\d{1,18}))? \+(\d{1,18})(?:,(\d{1,18}))? @@ ?(.*)")
_BINARY = re.compile(r"Binary files? (?P<names>.+) (?:differ|has changed)")
# What stands behind a name after spaces instead of a tab: mailers make spaces of tabs.
_BEHIND = re.compile(
    r"[ ]+(?:\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: [+-]\d{4})?"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}(?: [+-]\d{4})?"
    r"|\((?:revision \d+|working copy|nonexistent)\))$"
)
_GIT_LINES = {
    "old mode ": "old_mode",
    "new mode ": "new_mode",
    "deleted file mode ": "deleted_mode",
    "new file mode ": "added_mode",
    "rename from ": "rename_from",
    "rename to ": "rename_to",
    "copy from ": "copy_from",
    "copy to ": "copy_to",
}
_INDEX = re.compile(r"index [0-9a-f]+\.\.[0-9a-f]+(?: (?P<mode>\d+))?")


@dataclass
class DiffFile:
    """One file of a diff, with what its headers say.

    ``header`` is what follows "diff --git "; ``names`` are those of "---" and "+++", or None where there are none;
    ``binary`` is what stands between "Binary files" and "differ". ``info`` holds what git says, by `_GIT_LINES`.
    """

    header: str | None = None
    names: tuple[str, str] | None = None
    binary: str | None = None
    is_binary: bool = False
    info: dict[str, str] = field(default_factory=dict)
    hunks: list[Hunk] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)  # first line and count on the old side, of each hunk
    next_line: int = 1

    @property
    def is_added(self) -> bool:
        """Whether there was no such file before."""
        is_whole = len(self.spans) == 1 and self.spans[0] == (0, 0) and self.header is None
        return "added_mode" in self.info or self._is_nothing(0) or is_whole

    @property
    def is_deleted(self) -> bool:
        """Whether there is no such file any more."""
        is_gone = len(self.hunks) == 1 and self.next_line == 0 and self.header is None
        return "deleted_mode" in self.info or self._is_nothing(1) or is_gone

    @property
    def modes(self) -> tuple[str | None, str | None]:
        """Modes of a file before and after the change."""
        same = self.info.get("mode")
        old = self.info.get("old_mode") or self.info.get("deleted_mode") or same
        new = self.info.get("new_mode") or self.info.get("added_mode") or same
        return old, new

    def _is_nothing(self, side: int) -> bool:
        return self.names is not None and self.names[side] == DEV_NULL


@dataclass(frozen=True)
class Diff:
    """The files of a diff, and how many lines stand before the first."""

    files: list[DiffFile]
    preamble: int


def read_unified(lines: Sequence[str]) -> Diff:
    """Read the lines of a text, without their line ends.

    Raises:
        Unreadable: it is no well-formed diff; nothing of its text is quoted.
    """
    reader = _Reader(lines)
    reader.read()
    return Diff(reader.files, reader.first)


class _Reader:
    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._count = len(lines) - (bool(lines) and lines[-1] == "")  # no line begins after the last line end
        self._at = 0
        self._is_crlf = False  # the diff itself was given Windows line ends on its way
        self._is_open = False  # the header of the last file may go on
        self._uncounted: int | None = None  # a line right below a hunk that looks like one of it
        self.files: list[DiffFile] = []
        self.first = 0

    def read(self) -> None:
        while self._at < self._count:
            line = self._lines[self._at].removesuffix("\r")
            if line.startswith("diff "):
                self._git_header(line)
            elif line.startswith("--- ") and self._is_pair():
                self._names(line)
            elif line.startswith("@@"):
                self._hunk(line)
                continue
            elif not self._binary_files(line) and self._is_open:
                self._info(line)
            self._at += 1

    def _git_header(self, line: str) -> None:
        if line.startswith(("diff --cc ", "diff --combined ")):
            raise _combined()
        self._is_open = line.startswith("diff --git ")
        if self._is_open:
            self._begin(DiffFile(header=_bounded(line).removeprefix("diff --git ")))

    def _begin(self, file: DiffFile) -> None:
        if not self.files:
            self.first = self._at
        self._is_crlf = self._lines[self._at].endswith("\r")
        self._uncounted = None
        self.files.append(file)

    def _is_pair(self) -> bool:
        """Whether "---" is followed by "+++" and a hunk, in a header of git's by "+++" alone; else it is prose."""
        after = [*self._lines[self._at + 1 : min(self._at + 3, self._count)], "", ""]
        if after[0].startswith("+++ ") and (self._is_open or after[1].startswith("@@ -")):
            return True
        if self._is_open and not (self.files[-1].info.keys() - {"mode"} or self.files[-1].is_binary):
            raise self._malformed(self._at + 1)  # cut off within a header
        return False

    def _names(self, line: str) -> None:
        if not self._is_open:
            self._begin(DiffFile())
        new = self._lines[self._at + 1].removesuffix("\r")
        self._is_crlf = self._lines[self._at].endswith("\r")
        self.files[-1].names = (_name(_bounded(line)), _name(_bounded(new)))
        self._is_open = False
        self._at += 1

    def _info(self, line: str) -> None:
        """Take a line of git's header; an empty one, or the line above a diff of another kind, ends it."""
        file = self.files[-1]
        if match := _INDEX.fullmatch(line):
            file.info |= {"mode": match["mode"]} if match["mode"] else {}
        elif line == "GIT binary patch":
            file.is_binary = True
        elif start := next((start for start in _GIT_LINES if line.startswith(start)), None):
            file.info[_GIT_LINES[start]] = _bounded(line).removeprefix(start)
        self._is_open = bool(line) and not line.startswith("Index: ") and not file.is_binary

    def _binary_files(self, line: str) -> bool:
        """Take "Binary files … differ": of the file whose header is open, or of one of its own."""
        if not line.startswith("Binary file"):
            return False
        match = _BINARY.fullmatch(_bounded(line))
        if match is None or not (self._is_open or self._tells_of_a_file(match["names"])):
            return False
        if not self._is_open:
            self._begin(DiffFile())
        self.files[-1].is_binary, self.files[-1].binary = True, match["names"]
        self._is_open = False
        return True

    def _tells_of_a_file(self, names: str) -> bool:
        """Whether these are names and no prose: of one file, or below a line that says what is compared."""
        old, _, new = names.partition(" and ")
        is_below = self._at > 0 and self._lines[self._at - 1].startswith("diff ")
        return is_below or names.count(" and ") > 1 or old.rpartition("/")[2] == new.rpartition("/")[2]

    def _hunk(self, line: str) -> None:
        if line.startswith("@@@"):
            raise _combined()
        match = _HUNK.fullmatch(line)
        if match is None and not line.startswith("@@ -"):
            self._is_open = False
            self._at += 1
            return
        if match is None or not self.files or (self.files[-1].names is None):
            raise self._malformed(self._at + 1)
        if self._uncounted is not None:
            raise Unreadable(f"hunk has more lines than its header says at line {self._uncounted}; {MAKE_AGAIN}")
        file = self.files[-1]
        old_start, old_count, new_start, new_count = (int(number or 1) for number in match.groups()[:4])
        # A hunk that only removes lines names the line before them.
        if new_start + (new_count == 0) < file.next_line:
            raise Unreadable(f"hunk at line {new_start} of a file is not below the one before; {MAKE_AGAIN}")
        if new_start + new_count > _MAX_LINE_NUMBER:
            raise Unreadable(f"hunk goes beyond line {_MAX_LINE_NUMBER}; {MAKE_AGAIN}")
        self._is_open = False
        self._at += 1
        heading = match[5].strip()[:_MAX_HEADING_CHARACTERS]
        file.hunks.append(Hunk(heading, tuple(self._hunk_lines(old_count, new_count, new_start))))
        file.spans.append((old_start, old_count))
        file.next_line = new_start + new_count
        self._see_what_follows()

    def _hunk_lines(self, old_left: int, new_left: int, number: int) -> Iterator[CodeLine]:
        first = self._at
        while old_left or new_left:
            if self._at == self._count:
                if self._at > first and old_left == new_left <= _MAX_CHOPPED_LINES:
                    return
                raise self._malformed(self._at)
            line = self._lines[self._at]
            if self._is_crlf:
                line = line.removesuffix("\r")
            sign, text = line[:1], line[1:]
            if sign in ("", "\r"):  # an unchanged empty line whose space something took off
                sign, text = " ", line
            is_old, is_new = sign in (" ", "-"), sign in (" ", "+")
            if sign == "\\":
                yield NO_NEWLINE
            elif not (is_old or is_new) or (is_old and not old_left) or (is_new and not new_left):
                raise self._malformed(self._at + 1)
            else:
                yield CodeLine(number if is_new else None, _SIGNS[sign], text)
            old_left, new_left, number = old_left - is_old, new_left - is_new, number + is_new
            self._at += 1
        if self._at < self._count and self._lines[self._at].startswith("\\ "):
            yield NO_NEWLINE
            self._at += 1

    def _see_what_follows(self) -> None:
        """Lines like those of a hunk right below one: prose, unless another hunk of the file follows."""
        line = self._lines[self._at] if self._at < self._count else ""
        self._uncounted = self._at + 1 if line.startswith(("+", "-", " ")) else None

    def _malformed(self, number: int) -> Unreadable:
        return Unreadable(
            f"not a well-formed unified diff at line {number} (wrong hunk counts or headers out of order); {MAKE_AGAIN}"
        )


_SIGNS: dict[str, Sign] = {" ": " ", "+": "+", "-": "-"}


def _bounded(line: str) -> str:
    if len(line) > _MAX_HEADER_CHARACTERS:
        raise Unreadable(f"header line has more than {_MAX_HEADER_CHARACTERS} characters; {MAKE_AGAIN}")
    return line


def _name(line: str) -> str:
    """The name in a "---" or "+++" line: up to the tab, or the time, behind it."""
    name, tab, _ = line[4:].partition("\t")
    return name if tab else _BEHIND.sub("", name).rstrip(" ")


def _combined() -> Unreadable:
    return Unreadable("is the combined diff of a merge; send a diff against one parent")
