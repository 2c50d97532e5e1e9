"""What all readers of code have in common: bytes to text, lines to files of a change, a change to a document."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from pipelines.documents.code.records import NO_NEWLINE, Change, CodeFile, CodeLine, Hunk, LeftOut, Status
from pipelines.documents.code.rules import Why, left_out_by_content, left_out_by_lines
from pipelines.documents.code.shown import shown_text
from pipelines.documents.readers.lines import Unreadable, over_limit
from pipelines.documents.records import Document

_MAX_HEADING_CHARACTERS = 200
_MAX_MESSAGE_LINES, _MAX_MESSAGE_CHARACTERS = 30, 2_000  # repeated in every piece of a long diff


def decode(data: bytes) -> str:
    """Code as text: what is not UTF-8 becomes U+FFFD, because a comment in Latin-1 keeps no fault from being found.

    Raises:
        Unreadable: it is UTF-16 by its byte order mark.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Unreadable("is UTF-16; convert it to UTF-8")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


def show_file(document: Document, path: str, data: bytes, tree_uri: str, max_document_bytes: int) -> Document | LeftOut:
    """The document with a file of a source tree as its text, or the record of a file left out.

    Raises:
        Unreadable: it is over the limit, or UTF-16.
    """
    file = _whole_file(path, data)
    if isinstance(file, Why):
        return file.at(path, tree_uri)
    if len(data) > max_document_bytes:
        raise Unreadable(over_limit("file", len(data), max_document_bytes))
    return show_change(document, Change((), (file,)))


def _whole_file(path: str, data: bytes) -> CodeFile | Why:
    why = left_out_by_content(data)
    if why is not None:
        return why
    text = decode(data)
    texts = text.removesuffix("\n").split("\n")
    lines = [CodeLine(number, " ", text) for number, text in enumerate(texts, start=1)]
    if not text.endswith("\n"):
        lines.append(NO_NEWLINE)
    file = code_file(path, "whole", (Hunk("", tuple(lines)),))
    return left_out_by_lines(new_lines(file)) or file


def code_file(
    path: str,
    status: Status,
    hunks: tuple[Hunk, ...],
    old_path: str | None = None,
    modes: tuple[str | None, str | None] = (None, None),
) -> CodeFile:
    """A file of a change, with notes on what its lines do not say. A CR at the end of all of them is dropped."""
    notes = []
    if None not in modes and modes[0] != modes[1]:
        notes.append(f"mode {modes[0]} -> {modes[1]}")
    if _end_in_crlf(hunks):
        hunks = tuple(
            Hunk(hunk.heading, tuple(replace(line, text=line.text.removesuffix("\r")) for line in hunk.lines))
            for hunk in hunks
        )
        notes.append("lines end in CRLF")
    if any("\ufffd" in line.text for hunk in hunks for line in hunk.lines):
        notes.append("not all UTF-8: \ufffd stands for what is not")
    return CodeFile(path, status, hunks, old_path, tuple(notes))


def _end_in_crlf(hunks: Iterable[Hunk]) -> bool:
    pairs = (pair for hunk in hunks for pair in pairwise((*hunk.lines, None)))  # each line with the one after it
    ended = [line.text.endswith("\r") for line, after in pairs if line and NO_NEWLINE not in (line, after)]
    return bool(ended) and all(ended)


def new_lines(file: CodeFile) -> Iterator[tuple[int, str]]:
    """The lines of the new file that are shown."""
    return ((line.number, line.text) for hunk in file.hunks for line in hunk.lines if line.number is not None)


def has_new_lines(change: Change) -> bool:
    """Whether the change shows any line that a finding could name."""
    return any(True for file in change.files for _ in new_lines(file))


def trim_heading(text: str) -> str:
    """The head of what a hunk stands in: enough to know it by."""
    return text.strip()[:_MAX_HEADING_CHARACTERS]


def trim_message(lines: Iterable[str]) -> tuple[str, ...]:
    """The head of a message, without the empty lines around it; a message that was cut ends in "…"."""
    text = "\n".join(lines).strip("\r\n")
    head = text[:_MAX_MESSAGE_CHARACTERS].split("\n")[:_MAX_MESSAGE_LINES]
    is_cut = len("\n".join(head)) < len(text)
    return tuple(line.rstrip() for line in [*head, *["…"] * is_cut]) if text else ()


def show_change(document: Document, change: Change) -> Document | LeftOut:
    """The document with a change as its text; the record of a document left out if there is no line to review."""
    if has_new_lines(change):
        return replace(document, text=shown_text(change))
    return LeftOut(document.document_uri, "", "no_code", _without_code(change))


def _without_code(change: Change) -> str:
    if not change.files:
        return "all its files are left out"
    return "its files have no lines to review (" + ", ".join(sorted({file.status for file in change.files})) + ")"
