"""A unified diff to a change: files, hunks and numbered lines.

In: a document whose text is a diff (of a patch file, a mail, a row). Out: a document whose text is that diff as shown,
and what was left out of it. A diff that does not say what it seems to say (wrong counts, one file twice, a path out of
the tree) is refused as a whole: a finding in it could not be placed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from pipelines.documents.code.reading.changes import code_file, new_lines, show_change, trim_message
from pipelines.documents.code.reading.patch_paths import Paths, paths_of
from pipelines.documents.code.reading.unified import DiffFile, read_unified
from pipelines.documents.code.records import Change, CodeFile, LeftOut, Status
from pipelines.documents.code.rules import Why, check_path, left_out_by_lines, left_out_by_mode, left_out_by_path
from pipelines.documents.readers.lines import Unreadable
from pipelines.documents.records import Document


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
    lines = text.split("\n")
    diff = read_unified(lines)
    if not diff.files:
        raise Unreadable("holds no unified diff; send the output of git diff, git format-patch or diff -u")
    files: list[CodeFile] = []
    left_out: list[LeftOut] = []
    for file, paths in zip(diff.files, paths_of(diff.files), strict=True):
        code = _code_file(file, paths)
        why = _why_left_out(file, code)
        if why is None:
            files.append(code)
        else:
            left_out.append(why.at(code.path, document_uri))
    _refuse_repeated(file.path for file in files)
    return Change(trim_message(_message(lines[: diff.preamble])), tuple(files)), left_out


def _code_file(file: DiffFile, paths: Paths) -> CodeFile:
    path = paths.new or paths.old or ""
    check_path(path)
    if paths.new is None:
        return CodeFile(path, "deleted", ())
    status: Status = "modified"
    if paths.old is None:
        status = "added"
    elif paths.old != paths.new:
        check_path(paths.old)
        status = "copied" if "copy_from" in file.info else "renamed"
    is_moved = status in ("renamed", "copied")
    return code_file(path, status, tuple(file.hunks), paths.old if is_moved else None, file.modes)


def _why_left_out(file: DiffFile, code: CodeFile) -> Why | None:
    why = left_out_by_mode(file.modes) or left_out_by_path(code.path)
    if why is None and file.is_binary:
        why = Why("binary", "the diff says so")
    return why or left_out_by_lines(new_lines(code))


def _refuse_repeated(paths: Iterable[str]) -> None:
    for one, other in pairwise(sorted(paths)):
        if one == other:
            raise Unreadable(f"changes {one!r} twice; send one diff for each commit (git format-patch)")


def _message(lines: Sequence[str]) -> Sequence[str]:
    """What the author says above the diff: up to git's dashes, or to what stands above a file's names."""
    starts = ("diff -", "Index: ", "Only in ")
    ends = (at for at, line in enumerate(lines) if line.rstrip("\r") == "---" or line.startswith(starts))
    return lines[: next(ends, len(lines))]
