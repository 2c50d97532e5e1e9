"""Repositories of a few kilobytes that stand for more than a disk holds end in a failed row, not in a full disk."""

from pathlib import Path

import pytest

from pipelines.documents.code.reading import git_repository
from pipelines.documents.code.reading.git_repository import read_tree
from tests.documents.code.reading.repositories import LIMIT, Repository, outcomes, raw_tree


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "r.git")


def test_trees_that_hold_each_other_ten_times_are_not_unfolded(repository: Repository) -> None:
    tree = repository.tree({f"f{number}": b"x\n" for number in range(10)})
    for _ in range(12):
        tree = raw_tree(repository, *(("40000", b"d%d" % number, tree) for number in range(10)))
    commit = repository.commit(tree)
    assert outcomes(repository.commits()) == [f"{commit}: changes more than 10000 files; review the tree instead"]


def test_the_tree_of_such_a_repository_is_read_up_to_a_limit(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_repository, "_MAX_TREE_ENTRIES", 7)
    empty = raw_tree(repository)
    tree = repository.tree({"a.py": b"x\n", "b.py": b"x\n"})
    for _ in range(12):
        tree = raw_tree(repository, ("40000", b"d0", empty), ("40000", b"d1", tree), ("40000", b"d2", tree))
    repository.commit(tree)
    (reason,) = outcomes(read_tree(repository.path, "HEAD", LIMIT))
    assert reason == (
        "d1/d1/d1/d1: stands behind 7 files and folders or 10000000000 bytes of the tree; it and what follows is not "
        "read; review the tree in parts, as folders"
    )


def test_the_bytes_of_a_tree_have_a_limit(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_repository, "_MAX_TREE_BYTES", 5)
    repository.commit({f"{number}.py": b"xxx\n" for number in range(9)})
    assert outcomes(read_tree(repository.path, "HEAD", LIMIT)) == [
        None, None, "2.py: stands behind 1000000 files and folders or 5 bytes of the tree; it and what follows is not "
        "read; review the tree in parts, as folders"
    ]  # fmt: skip


def test_objects_that_unfold_to_too_much_are_not_loaded(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repository.commit({"a.py": b"1\n", "c/d.py": b"1\n"})
    folder = {f"{number}.py": b"1\n" for number in range(60)}
    second = repository.commit(
        {"a.py": b"1\n", "b/c.py": b"1\n", **{f"d/{name}": data for name, data in folder.items()}}
    )
    third = repository.commit({"a.py": b"2\n"}, "word " * 400)
    fourth = repository.commit(folder)
    git = repository.git
    in_folder, in_root = str((git[second].tree / "d").id), str(git[fourth].tree_id)
    monkeypatch.setattr(git_repository, "_MAX_OBJECT_BYTES", 1_500)

    def refused(place: str, kind: str, oid: str) -> str:
        size_bytes = git.odb.read_header(oid)[1]
        return f"{place}: needs the {kind} {oid}, which takes {size_bytes} bytes (the limit is 1500); leave it out"

    assert outcomes(repository.commits()) == [
        refused(fourth, "tree", in_root),
        refused(third, "commit", third),
        refused(second, "tree", in_folder),
        None,
    ]
    assert outcomes(read_tree(repository.path, second, LIMIT)) == [None, None, refused("d", "tree", in_folder)]
    assert outcomes(read_tree(repository.path, "HEAD", LIMIT)) == [refused(".", "tree", in_root)]
    assert outcomes(read_tree(repository.path, first, LIMIT)) == [None, None]
