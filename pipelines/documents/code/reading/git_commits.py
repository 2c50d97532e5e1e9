"""The commits of a git repository in a revision range, as shown text: one document per commit, or per file of one.

Diffs are made from the bytes of blobs alone, so that no attribute or setting of the repository (a diff driver, a
pattern) has a say in what is shown. How many files a commit changes, and how large they are, is known before anything
is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pygit2
from pygit2.enums import DeltaStatus, DiffFind, DiffOption, FileMode, SortMode

from pipelines.documents.code.reading.changes import code_file, new_lines, show_change, trim_heading, trim_message
from pipelines.documents.code.reading.git_repository import (
    MISSING_OBJECTS,
    blob_data,
    blob_size,
    check_object,
    decoded,
    load_tree,
    open_repository,
    path_of,
    revision_range,
)
from pipelines.documents.code.records import NO_NEWLINE, Change, CodeFile, CodeLine, Hunk, LeftOut, Sign, Status
from pipelines.documents.code.rules import (
    Why,
    left_out_by_lines,
    left_out_by_mode,
    left_out_by_path,
    left_out_by_size,
    printable,
)
from pipelines.documents.readers.lines import Unreadable
from pipelines.documents.records import Document
from pipelines.errors import JobError

Unit = Literal["commit", "file"]

_MAX_FILES_PER_COMMIT = 10_000
_RENAME_LIMIT = 200  # files compared with each other; beyond it, only those with equal content count as renamed
_STATUS: dict[DeltaStatus, Status] = {
    DeltaStatus.ADDED: "added",
    DeltaStatus.DELETED: "deleted",
    DeltaStatus.RENAMED: "renamed",
    DeltaStatus.COPIED: "copied",
}
_SIGNS: dict[str, Sign] = {" ": " ", "+": "+", "-": "-"}


def read_commits(location: str, revisions: str, unit: Unit, max_document_bytes: int) -> Iterator[Document | LeftOut]:
    """Streams the commits of a range, newest first, each as one document or (unit "file") one for each of its files.

    Args:
        location: the folder of the repository, bare or not.
        revisions: ``A..B``, or one revision for all that leads up to it.
        unit: what is one document; of merges there is none, since their commits come one by one.
        max_document_bytes: a larger change becomes a failed document.

    Raises:
        JobError: no repository, no such revisions, or none in the range.
    """
    repository, root = open_repository(location)
    oldest, newest = revision_range(repository, location, revisions)
    walker = repository.walk(newest.id, SortMode.NONE)  # git's own order, and the only one that streams
    if oldest is not None:
        walker.hide(oldest.id)
    is_empty = True
    commits = _Commits(repository, root, max_document_bytes)
    for commit in commits.walk(walker):
        is_empty = False
        yield from [commit] if isinstance(commit, Document) else commits.read(commit, unit)
    if is_empty:
        raise JobError([f"input: no commits in {revisions!r} of {location!r}; the older revision comes first"])


class _Commits:
    """Reader of a repository's commits: each becomes a document."""

    def __init__(self, repository: pygit2.Repository, root: str, max_document_bytes: int) -> None:
        self._repository = repository
        self._root = root
        self._max_document_bytes = max_document_bytes

    def walk(self, walker: pygit2.Walker) -> Iterator[pygit2.Commit | Document]:
        """The commits, and at its end a failed document if the history cannot be followed further."""
        last = "its start"
        while True:
            try:
                commit = next(walker, None)
            except (pygit2.GitError, KeyError):
                reason = f"history cannot be followed after {last}; run git fsck and fetch what is missing"
                yield Document("history", f"{self._root}@history", 0, None, failure=f"history: {reason}")
                return
            if commit is None:
                return
            last = str(commit.id)
            yield commit

    def read(self, commit: pygit2.Commit, unit: Unit) -> Iterator[Document | LeftOut]:
        document = Document(str(commit.id), f"{self._root}@{commit.id}", 0, None)
        if len(commit.parent_ids) > 1:
            yield LeftOut(document.document_uri, "", "merge", "a merge; its commits are reviewed one by one")
            return
        try:
            deltas = self._deltas(commit)
            if unit == "commit":
                yield from self._whole(document, commit, deltas)
            else:
                yield from self._by_file(document, commit, deltas)
        except Unreadable as reason:
            yield _failed(document, str(reason))

    def _deltas(self, commit: pygit2.Commit) -> Iterator[pygit2.DiffDelta]:
        try:
            check_object(self._repository, commit.id)
            if not commit.parent_ids and b"\nparent " in commit.read_raw().partition(b"\n\n")[0]:
                raise Unreadable("its parent is not in this shallow clone; fetch more history (git fetch --unshallow)")
            parent = self._repository[commit.parent_ids[0]].peel(pygit2.Commit) if commit.parent_ids else None
            old = load_tree(self._repository, parent.tree_id) if parent is not None else None
            new = load_tree(self._repository, commit.tree_id)
            if not _has_few_changes(self._repository, old, new):
                raise Unreadable(f"changes more than {_MAX_FILES_PER_COMMIT} files; review the tree instead")
            diff = new.diff_to_tree(swap=True) if old is None else old.diff_to_tree(new)
            diff.find_similar(self._rename_search(diff), rename_limit=_RENAME_LIMIT)
        except (pygit2.GitError, KeyError) as error:
            raise Unreadable(MISSING_OBJECTS) from error
        return diff.deltas

    def _rename_search(self, diff: pygit2.Diff) -> DiffFind:
        """Files that may have been renamed are compared by content, unless one is too large to be loaded."""
        sizes = (
            self._size(file)
            for delta in diff.deltas
            for file, status in ((delta.new_file, DeltaStatus.ADDED), (delta.old_file, DeltaStatus.DELETED))
            if delta.status == status
        )
        if any((why := left_out_by_size(size)) and why.reason == "oversized" for size in sizes):
            return DiffFind.FIND_RENAMES | DiffFind.FIND_EXACT_MATCH_ONLY
        return DiffFind.FIND_RENAMES

    def _size(self, file: pygit2.DiffFile) -> int:
        return 0 if file.mode == FileMode.COMMIT else blob_size(self._repository, file.id)

    def _whole(
        self, document: Document, commit: pygit2.Commit, deltas: Iterator[pygit2.DiffDelta]
    ) -> Iterator[Document | LeftOut]:
        files: list[CodeFile] = []
        size_bytes = 0
        for delta in deltas:
            path, file = self._file(delta)
            if isinstance(file, Why):
                yield file.at(path, document.document_uri)
                continue
            files.append(file)
            size_bytes += _size_bytes(file)
            if size_bytes > self._max_document_bytes:
                raise self._too_large("review it file by file")
        yield show_change(document, Change(_message(commit), tuple(files)))

    def _by_file(
        self, document: Document, commit: pygit2.Commit, deltas: Iterator[pygit2.DiffDelta]
    ) -> Iterator[Document | LeftOut]:
        for delta in deltas:
            place = printable(decoded(delta.new_file.raw_path))
            own = replace(
                document,
                document_id=f"{document.document_id}:{place}",
                document_uri=f"{document.document_uri}:{place}",
            )
            try:
                path, file = self._file(delta)
                if isinstance(file, CodeFile) and _size_bytes(file) > self._max_document_bytes:
                    raise self._too_large("leave it out")
            except Unreadable as reason:
                yield _failed(own, str(reason))
                continue
            if isinstance(file, Why):
                yield file.at(path, document.document_uri)
            else:
                yield show_change(own, Change(_message(commit), (file,)))

    def _too_large(self, next_move: str) -> Unreadable:
        limit = self._max_document_bytes
        return Unreadable(
            f"changes more than {limit} bytes (limits.max_document_bytes); {next_move} or raise the limit"
        )

    def _file(self, delta: pygit2.DiffDelta) -> tuple[str, CodeFile | Why]:
        path, old_path = (path_of(file.raw_path) for file in (delta.new_file, delta.old_file))
        status = _STATUS.get(delta.status, "modified")
        modes = [f"{file.mode:06o}" if file.mode else None for file in (delta.old_file, delta.new_file)]
        why = left_out_by_mode(modes) or left_out_by_path(path)
        if why is not None:
            return path, why
        if status == "deleted":
            return path, CodeFile(path, status, ())
        data = blob_data(self._repository, delta.new_file.id)
        if isinstance(data, Why):
            return path, data
        old_data = blob_data(self._repository, delta.old_file.id) if status != "added" else b""
        if isinstance(old_data, Why):
            return path, Why(old_data.reason, f"before the change: {old_data.detail}")
        is_moved = status in ("renamed", "copied")
        file = code_file(path, status, _hunks(old_data, data), old_path if is_moved else None, (modes[0], modes[1]))
        return path, left_out_by_lines(new_lines(file)) or file


def _has_few_changes(repository: pygit2.Repository, old: pygit2.Tree | None, new: pygit2.Tree | None) -> bool:
    """Whether a diff is safe to hold: a few trees that name each other ten times over reach billions of files."""
    pairs: list[tuple[pygit2.Tree | None, pygit2.Tree | None]] = [(old, new)]
    count = 0
    while pairs:
        before, after = ({entry.raw_name: (entry.id, entry) for entry in tree or ()} for tree in pairs.pop())
        names = [name for name in before.keys() | after.keys() if before.get(name, [0])[0] != after.get(name, [0])[0]]
        count += len(names)
        if count > _MAX_FILES_PER_COMMIT:
            return False
        for name in names:
            ends = [side[name][1] if name in side else None for side in (before, after)]
            trees = [load_tree(repository, entry.id) if isinstance(entry, pygit2.Tree) else None for entry in ends]
            if any(tree is not None for tree in trees):
                pairs.append((trees[0], trees[1]))
    return True


def _hunks(old: bytes, new: bytes) -> tuple[Hunk, ...]:
    patch = pygit2.Patch.create_from(old, new, flag=DiffOption.FORCE_TEXT | DiffOption.INDENT_HEURISTIC)
    return tuple(
        Hunk(
            trim_heading(hunk.header.split("@@", 2)[2]),
            tuple(
                CodeLine(line.new_lineno if line.origin != "-" else None, _SIGNS[line.origin], _text(line.raw_content))
                if line.origin in _SIGNS
                else NO_NEWLINE
                for line in hunk.lines
            ),
        )
        for hunk in patch.hunks
    )


def _text(content: bytes) -> str:
    return content.removesuffix(b"\n").decode("utf-8", "replace")


def _size_bytes(file: CodeFile) -> int:
    return sum(len(line.text.encode()) + 1 for hunk in file.hunks for line in hunk.lines)


def _message(commit: pygit2.Commit) -> tuple[str, ...]:
    return trim_message(commit.raw_message.decode("utf-8", "replace").split("\n"))


def _failed(document: Document, reason: str) -> Document:
    return replace(document, failure=f"{document.document_id}: {reason}")
