"""A unified diff to a change: files, hunks and numbered lines, in the hands of `unidiff`.

In: a document whose text is a diff (of a patch file, a mail, a row). Out: a document whose text is that diff as shown,
and what was left out of it. A diff that does not say what it seems to say (wrong counts, one file twice, a path out of
the tree) is refused as a whole: a finding in it could not be placed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, pairwise

from unidiff.constants import DEV_NULL, RE_PATCH_FILE_PREFIX
from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk as ParsedHunk
from unidiff.patch import PatchedFile, PatchSet

from pipelines.documents.code.changes import code_file, new_lines, show_change, trim_heading, trim_message
from pipelines.documents.code.records import Change, CodeFile, CodeLine, Hunk, LeftOut, Sign, Status
from pipelines.documents.code.rules import Why, check_path, left_out_by_lines, left_out_by_mode, left_out_by_path
from pipelines.documents.lines import Unreadable
from pipelines.documents.records import Document

_MAX_HEADER_CHARACTERS = 9_000  # two paths of 4,096; unidiff's patterns take quadratic time on such lines
_MAX_LINE_NUMBER = 1_000_000_000
_LONG_HEADER = re.compile(rf"^(?:diff --git |Binary file).{{{_MAX_HEADER_CHARACTERS}}}", re.MULTILINE)
_CRLF_HEADER = re.compile(r"^(?:diff --git |--- |\+\+\+ |@@ -)[^\r\n]*\r$", re.MULTILINE)
_COMBINED = re.compile(r"^@@@+ -", re.MULTILINE)
_ESCAPE = re.compile(rb'\\([0-7]{3}|[abfnrtv"\\])')
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_AGAIN = "make the diff again"


def show_diff(document: Document) -> Iterator[Document | LeftOut]:
    """The document with its diff as shown or with the reason why not; before it, what was left out of it.

    Where nothing remains to be reviewed, the record of the whole document left out stands in its place.
    """
    if document.text is None:
        yield document
        return
    try:
        change, left_out = read_diff(document.text, document.document_uri)
    except Unreadable as reason:
        place = document.document_id
        yield replace(document, text=None, failure=f"{place}: {reason}")
        return
    yield from left_out
    yield show_change(document, change)


def read_diff(text: str, document_uri: str) -> tuple[Change, list[LeftOut]]:
    """The change that a diff describes, less the files left out by rule, which come second.

    Raises:
        Unreadable: it is no well-formed diff, or names a path that leads out of the tree.
    """
    if _LONG_HEADER.search(text):
        raise Unreadable(f"header line has more than {_MAX_HEADER_CHARACTERS} characters; {_AGAIN}")
    if _CRLF_HEADER.search(text):  # the diff itself was given Windows line ends on its way
        text = text.replace("\r\n", "\n")
    if _COMBINED.search(text):
        raise Unreadable("is the combined diff of a merge; send a diff against one parent")
    lines = text.split("\n")
    patched = _parse(lines)
    if not patched:
        raise Unreadable("holds no unified diff; send the output of git diff, git format-patch or diff -u")
    files: list[CodeFile] = []
    left_out: list[LeftOut] = []
    for file in patched:
        _check_hunks(file, lines)
        code = _code_file(file)
        why = _why_left_out(file, code)
        if why is None:
            files.append(code)
        else:
            left_out.append(why.at(code.path, document_uri))
    _refuse_repeated(file.path for file in files)
    return Change(trim_message(_preamble(lines)), tuple(files)), left_out


def _parse(lines: list[str]) -> PatchSet:
    """Parse; errors name the line, which the parser does not know, and never its text, which it quotes."""
    number = 0
    count = len(lines) - (lines[-1] == "")  # no line begins after the last line end

    def counted() -> Iterator[str]:
        nonlocal number
        for line in islice(lines, count):
            number += 1
            yield f"{line}\n"

    try:
        return PatchSet(counted())
    except (UnidiffParseError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise Unreadable(
            f"not a well-formed unified diff at line {number} (wrong hunk counts or headers out of order); {_AGAIN}"
        ) from error


def _check_hunks(file: PatchedFile, lines: list[str]) -> None:
    """Refuse what the parser passes over in silence: hunks over each other, or with more lines than they counted."""
    next_line = 1
    for hunk in file:
        # A hunk that only removes lines names the line before them.
        if hunk.target_start + (hunk.target_length == 0) < next_line:
            raise Unreadable(f"hunk at line {hunk.target_start} of a file is not below the one before; {_AGAIN}")
        next_line = hunk.target_start + hunk.target_length
        if next_line > _MAX_LINE_NUMBER:
            raise Unreadable(f"hunk goes beyond line {_MAX_LINE_NUMBER}; {_AGAIN}")
        following = max((line.diff_line_no for line in hunk if line.diff_line_no is not None), default=0)
        while following < len(lines) and (not lines[following] or lines[following].startswith("\\ ")):
            following += 1
        rest = [*lines[following : following + 2], "", ""]
        is_next_file = rest[0].startswith("--- ") and rest[1].startswith("+++ ")
        is_signature = rest[0] == "-- "  # git's name and version below a patch
        if rest[0].startswith(("+", "-", " ")) and not is_next_file and not is_signature:
            raise Unreadable(f"hunk has more lines than its header says at line {following + 1}; {_AGAIN}")


def _code_file(file: PatchedFile) -> CodeFile:
    old, new = _paths(file)
    path = old if file.is_removed_file or new == DEV_NULL else new
    check_path(path)
    status: Status = "modified"
    if file.is_removed_file:
        return CodeFile(path, "deleted", ())
    if file.is_added_file:
        status = "added"
    elif old != new:
        check_path(old)
        status = "copied" if _info(file, "copy from ") else "renamed"
    return code_file(
        path,
        status,
        tuple(_hunk(hunk) for hunk in file),
        old_path=old if status in ("renamed", "copied") else None,
        modes=(file.source_mode, file.target_mode),
    )


def _hunk(hunk: ParsedHunk) -> Hunk:
    lines = []
    for line in hunk:
        sign: Sign
        if line.is_added:
            sign = "+"
        elif line.is_removed:
            sign = "-"
        elif line.target_line_no is not None:
            sign = " "
        elif line.line_type == "\\":
            sign = "\\"
        else:
            continue  # an empty line between this hunk and the next header
        text = "" if sign == "\\" else line.value.removesuffix("\n")
        lines.append(CodeLine(line.target_line_no, sign, text))
    return Hunk(trim_heading(hunk.section_header), tuple(lines))


def _why_left_out(file: PatchedFile, code: CodeFile) -> Why | None:
    why = left_out_by_mode((file.source_mode, file.target_mode)) or left_out_by_path(code.path)
    if why is None and file.is_binary_file:
        why = Why("binary", "the diff says so")
    return why or left_out_by_lines(new_lines(code))


def _paths(file: PatchedFile) -> tuple[str, str]:
    """Old and new path. Of a rename without hunks only "rename to" is beyond doubt: the header may hold spaces."""
    old = _info(file, "rename from ") or _info(file, "copy from ")
    new = _info(file, "rename to ") or _info(file, "copy to ")
    return (
        _unquoted(old) if old else _plain_path(file.source_file),
        _unquoted(new) if new else _plain_path(file.target_file),
    )


def _info(file: PatchedFile, prefix: str) -> str | None:
    lines = file.patch_info or ()
    return next((line.removeprefix(prefix).rstrip("\n") for line in lines if line.startswith(prefix)), None)


def _plain_path(name: str) -> str:
    path = _unquoted(name)
    return path if path == DEV_NULL else RE_PATCH_FILE_PREFIX.sub("", path)


def _unquoted(name: str) -> str:
    """Git's C-style quotes around paths with unusual bytes; bytes that are not UTF-8 stay as lone surrogates."""
    if len(name) < 2 or not (name.startswith('"') and name.endswith('"')):
        return name
    data = _ESCAPE.sub(_unescaped, name[1:-1].encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "surrogateescape")


def _unescaped(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return bytes([int(code, 8) & 0xFF]) if len(code) == 3 else _LETTERS.get(code, code)


def _refuse_repeated(paths: Iterable[str]) -> None:
    for one, other in pairwise(sorted(paths)):
        if one == other:
            raise Unreadable(f"changes {one!r} twice; send one diff for each commit (git format-patch)")


def _preamble(lines: list[str]) -> list[str]:
    """What stands before the diff: the message of a patch."""
    ends = (at for at, line in enumerate(lines) if line == "---" or line.startswith(("diff ", "--- ", "Index: ")))
    return lines[: next(ends, 0)]
