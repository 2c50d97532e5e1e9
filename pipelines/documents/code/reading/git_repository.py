"""A git repository: opening it, finding revisions, reading blobs; and the tree of one revision as shown text.

The repository is data and may be hostile: it is read by libgit2, which starts no programs and runs no hooks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pygit2
from pygit2.enums import ObjectType, RepositoryOpenFlag, RevSpecFlag

from pipelines.documents.code.reading.changes import show_file
from pipelines.documents.code.records import LeftOut
from pipelines.documents.code.rules import (
    MAX_FOLDERS_DEEP,
    Why,
    check_path,
    left_out_by_content,
    left_out_by_mode,
    left_out_by_path,
    left_out_by_size,
    left_out_folder,
    printable,
)
from pipelines.documents.readers.lines import Unreadable
from pipelines.documents.records import Document
from pipelines.errors import JobError

MISSING_OBJECTS = "needs objects that are missing or damaged (partial clone?); fetch them, or run git fsck"
# Of parsed commits and trees. libgit2's default, 256 MB, holds ten times that in memory for a history of small commits,
# and a walk meets each only once.
_CACHE_BYTES = 2 * 1024 * 1024
# Beyond any honest repository. A few kilobytes of objects can stand for more than any disk holds: trees that name each
# other over and over, or one object that unfolds to gigabytes.
_MAX_TREE_ENTRIES = 1_000_000
_MAX_TREE_BYTES = 10_000_000_000
_MAX_OBJECT_BYTES = 20_000_000  # of a commit, or of a folder's list; files have their own limit
# A revision so many steps before another.
_ANCESTOR = re.compile(r"(?P<base>.+?)(?:~\d*|\^+)")


def read_tree(location: str, revision: str, max_document_bytes: int) -> Iterator[Document | LeftOut]:
    """Streams the files of the tree of one revision as shown text, and what is left out.

    Raises:
        JobError: no repository, or no such revision.
    """
    repository, root = open_repository(location)
    oldest, commit = revision_range(repository, location, revision)
    if oldest is not None:
        raise JobError([f"input: {revision!r} is a range, a tree has one revision; give a branch, a tag or a commit"])
    files = _Files(repository, f"{root}@{commit.id}", max_document_bytes)
    try:
        yield from files.read(commit.tree_id, "", 0)
    except Unreadable as reason:
        yield files.failed(b".", str(reason))


def pin_revisions(location: str, revisions: str) -> tuple[str, str]:
    """Full path of a repository, and the revisions by their commits' ids: those that names stand for now.

    Raises:
        JobError: no repository, or no such revisions.
    """
    repository, root = open_repository(location)
    oldest, newest = revision_range(repository, location, revisions)
    return root, f"{newest.id}" if oldest is None else f"{oldest.id}..{newest.id}"


def open_repository(location: str) -> tuple[pygit2.Repository, str]:
    """Open the repository in a folder; the folder's full path comes second.

    Raises:
        JobError: there is none, or it has no commits.
    """
    # Git refuses repositories of other users because it runs their hooks and programs; nothing is run here, and a
    # mounted repository often belongs to somebody else.
    pygit2.settings.owner_validation = False
    pygit2.settings.cache_max_size(_CACHE_BYTES)
    root = os.path.abspath(os.path.expanduser(location))
    try:
        repository = pygit2.Repository(root, RepositoryOpenFlag.NO_SEARCH)
    except (pygit2.GitError, ValueError) as error:
        raise JobError([f"input: {_why_not_opened(location, root, str(error))}"]) from error
    if repository.is_empty:
        raise JobError([f"input: the repository {location!r} has no commits; commit something, or name another"])
    return repository, root


def revision_range(
    repository: pygit2.Repository, location: str, revisions: str
) -> tuple[pygit2.Commit | None, pygit2.Commit]:
    """The commit that ends the range on the old side, if any, and the newest one.

    Raises:
        JobError: there are no such revisions.
    """
    try:
        spec = repository.revparse(revisions)
        if spec.flags & RevSpecFlag.MERGE_BASE:
            raise JobError([f"input: {revisions!r} is a symmetric range; give A..B"])
        if spec.flags & RevSpecFlag.RANGE:
            return spec.from_object.peel(pygit2.Commit), spec.to_object.peel(pygit2.Commit)
        return None, spec.from_object.peel(pygit2.Commit)
    except (pygit2.GitError, KeyError, ValueError) as error:
        raise JobError([f"input: {_why_no_revision(repository, location, revisions)}"]) from error


def _why_not_opened(location: str, root: str, error: str) -> str:
    if os.path.exists(os.path.join(root, ".git")) or os.path.isdir(os.path.join(root, "objects")):
        return (
            f"the git repository {location!r} is of a kind that cannot be read here ({error}); review patches of its "
            "commits instead (git format-patch --stdout A..B > changes.patch), or its files (review: {tree: true})"
        )
    return f"no git repository at {location!r} ({error}); name its folder"


def _why_no_revision(repository: pygit2.Repository, location: str, revisions: str) -> str:
    """What is wrong with revisions that do not resolve, and what to give instead."""
    for end in revisions.split(".."):
        if not end or _resolved(repository, end) is not None:
            continue
        if repository.is_shallow:
            return (
                f"no revision {end!r} in {location!r}, which is a shallow clone; fetch the rest of its history first "
                "(git fetch --unshallow; in GitHub Actions fetch-depth: 0)"
            )
        match = _ANCESTOR.fullmatch(end)
        base = _resolved(repository, match["base"]) if match else None
        if match and base is not None:
            count = _commits_before(repository, base)
            return (
                f"no revision {end!r} in {location!r}: {match['base']!r} has only {count} commits before it; give "
                f"{match['base']!r} alone for its whole history, or a range from {match['base']}~{count} on"
            )
    return f"no revision {revisions!r} in {location!r}; give a branch, a tag, a commit, or a range A..B"


def _resolved(repository: pygit2.Repository, revision: str) -> pygit2.Commit | None:
    try:
        return repository.revparse_single(revision).peel(pygit2.Commit)
    except (pygit2.GitError, KeyError, ValueError):
        return None


def _commits_before(repository: pygit2.Repository, commit: pygit2.Commit) -> int:
    """How many steps "~" can go back."""
    walker = repository.walk(commit.id)
    walker.simplify_first_parent()
    return sum(1 for _ in walker) - 1


@dataclass(slots=True)
class _Files:
    """The files of a tree to documents; counts what it has met."""

    repository: pygit2.Repository
    tree_uri: str
    max_document_bytes: int
    entries: int = 0
    size_bytes: int = 0
    is_full: bool = False

    def read(self, tree: pygit2.Oid, folder: str, depth: int) -> Iterator[Document | LeftOut]:
        """Everything below a folder, or up to where there is too much of it: that entry fails, the rest is not read."""
        for entry in load_tree(self.repository, tree):
            if self.is_full:
                return
            assert entry.raw_name is not None  # it is, of objects that were not met in a tree
            raw = folder.encode("utf-8") + entry.raw_name
            self.entries += 1
            try:
                self.is_full = self.entries > _MAX_TREE_ENTRIES or self.size_bytes > _MAX_TREE_BYTES
                if self.is_full:
                    raise Unreadable(
                        f"stands behind {_MAX_TREE_ENTRIES} files and folders or {_MAX_TREE_BYTES} bytes of the tree; "
                        "it and what follows is not read; review the tree in parts, as folders"
                    )
                path = path_of(raw)
                if isinstance(entry, pygit2.Tree):
                    yield from self._read_folder(entry, path, depth + 1)
                else:
                    yield self._read_file(entry, path)
            except Unreadable as reason:
                yield self.failed(raw, str(reason))
            except (pygit2.GitError, KeyError):
                yield self.failed(raw, MISSING_OBJECTS)

    def _read_folder(self, tree: pygit2.Tree, path: str, depth: int) -> Iterator[Document | LeftOut]:
        why = left_out_folder(path)
        if why is not None:
            yield why.at(f"{path}/", self.tree_uri)
            return
        if depth > MAX_FOLDERS_DEEP:
            raise Unreadable(f"is more than {MAX_FOLDERS_DEEP} folders deep; leave it out of the tree")
        yield from self.read(tree.id, f"{path}/", depth)

    def _read_file(self, entry: pygit2.Object, path: str) -> Document | LeftOut:
        why = left_out_by_mode([f"{entry.filemode:06o}"]) or left_out_by_path(path)
        if why is None and blob_size(self.repository, entry.id) == 0:
            why = left_out_by_size(0)
        data = why or blob_data(self.repository, entry.id)
        if isinstance(data, Why):
            return data.at(path, self.tree_uri)
        self.size_bytes += len(data)
        document = Document(path, f"{self.tree_uri}:{path}", 0, None)
        return show_file(document, path, data, self.tree_uri, self.max_document_bytes)

    def failed(self, raw: bytes, reason: str) -> Document:
        """The record of an entry that cannot be read."""
        path = printable(decoded(raw))
        return Document(path, f"{self.tree_uri}:{path}", 0, None, failure=f"{path}: {reason}")


def load_tree(repository: pygit2.Repository, tree: pygit2.Oid) -> pygit2.Tree:
    """The list of a folder.

    Raises:
        Unreadable: it is too large to be loaded, missing or damaged.
    """
    try:
        check_object(repository, tree)
        return repository[tree].peel(pygit2.Tree)
    except (pygit2.GitError, KeyError) as error:
        raise Unreadable(MISSING_OBJECTS) from error


def check_object(repository: pygit2.Repository, oid: pygit2.Oid) -> None:
    """Refuse a commit or tree that is too large to be loaded.

    Raises:
        Unreadable: it is.
        pygit2.GitError: it is missing or damaged.
    """
    kind, size_bytes = repository.odb.read_header(oid)
    if size_bytes > _MAX_OBJECT_BYTES:
        name = ObjectType(kind).name.lower()
        raise Unreadable(
            f"needs the {name} {oid}, which takes {size_bytes} bytes (the limit is {_MAX_OBJECT_BYTES}); leave it out"
        )


def blob_size(repository: pygit2.Repository, blob: pygit2.Oid) -> int:
    """The size of a blob, without loading it.

    Raises:
        pygit2.GitError: it is missing or damaged.
    """
    return repository.odb.read_header(blob)[1]


def blob_data(repository: pygit2.Repository, blob: pygit2.Oid) -> bytes | Why:
    """The bytes of a blob, or why its file is left out: what is too large is not loaded.

    Raises:
        Unreadable: it is missing or damaged.
    """
    try:
        why = left_out_by_size(blob_size(repository, blob))
        if why is not None:
            return b"" if why.reason == "empty" else why
        data = repository[blob].peel(pygit2.Blob).data
    except (pygit2.GitError, KeyError) as error:
        raise Unreadable(MISSING_OBJECTS) from error
    return left_out_by_content(data) or data


def path_of(raw: bytes) -> str:
    """A path as git stores it.

    Raises:
        Unreadable: it leads out of the tree, or is not printable UTF-8.
    """
    path = decoded(raw)
    check_path(path)
    return path


def decoded(raw: bytes) -> str:
    """A path that nobody has checked yet; bytes that are not UTF-8 are lone surrogates."""
    return raw.decode("utf-8", "surrogateescape")
