"""Repositories for tests: commits and trees as git writes them, and as only an attacker would."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from pipelines.documents.code.reading.git_commits import read_commits
from pipelines.documents.code.records import LeftOut
from pipelines.documents.records import Document

LIMIT = 5_000
Files = dict[str, bytes | tuple[FileMode, bytes | pygit2.Oid]]


class Repository:
    """A bare repository whose commits may hold what git would refuse to add."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.git = pygit2.init_repository(self.path, bare=True)
        self._count = 0

    def tree(self, files: Files) -> pygit2.Oid:
        builder = self.git.TreeBuilder()
        folders: dict[str, Files] = {}
        for path, held in files.items():
            folder, _, rest = path.partition("/")
            if rest:
                folders.setdefault(folder, {})[rest] = held
                continue
            mode, data = held if isinstance(held, tuple) else (FileMode.BLOB, held)
            builder.insert(path, data if isinstance(data, pygit2.Oid) else self.git.create_blob(data), mode)
        for folder, inner in folders.items():
            builder.insert(folder, self.tree(inner), FileMode.TREE)
        return builder.write()

    def commit(self, files: Files | pygit2.Oid, message: str = "m", parents: Iterable[str] | None = None) -> str:
        if parents is None:
            parents = [] if self.git.is_empty else [str(self.git.head.target)]
        tree = files if isinstance(files, pygit2.Oid) else self.tree(files)
        self._count += 1  # the walk is by time
        author = pygit2.Signature("A", "a@example.org", 1_700_000_000 + self._count, 0)
        made = self.git.create_commit(None, author, author, message, tree, [pygit2.Oid(hex=one) for one in parents])
        self.git.references.create("refs/heads/master", made, force=True)
        return str(made)

    def uri(self, commit: str, path: str = "") -> str:
        return f"{self.path}@{commit}" + (f":{path}" if path else "")

    def commits(self, revisions: str = "HEAD", limit: int = LIMIT) -> list[Document | LeftOut]:
        return list(read_commits(self.path, revisions, "commit", limit))

    def by_file(self, revisions: str = "HEAD", limit: int = LIMIT) -> list[Document | LeftOut]:
        return list(read_commits(self.path, revisions, "file", limit))


def outcomes(found: Iterable[Document | LeftOut]) -> list[str | None]:
    return [document.failure for document in found if isinstance(document, Document)]


def raw_tree(repository: Repository, *entries: tuple[str, bytes, pygit2.Oid]) -> pygit2.Oid:
    """A tree as nobody but an attacker would write it."""
    data = b"".join(b"%s %s\0%s" % (mode.encode(), name, oid.raw) for mode, name, oid in entries)
    return repository.git.odb.write(pygit2.enums.ObjectType.TREE, data)
