"""Commits and trees of real repositories: what is shown and left out, and the exact message for what is wrong."""

from pathlib import Path

import pygit2
import pytest
from pygit2.enums import FileMode

from pipelines.documents.code.reading.git_repository import read_tree
from pipelines.documents.code.records import LeftOut
from pipelines.documents.records import Document
from pipelines.errors import JobError
from tests.documents.code.reading.repositories import LIMIT, Files, Repository, outcomes, raw_tree

SIGNATURE = pygit2.Signature("A", "a@example.org", 1_700_000_000, 0)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "r.git")


def test_each_commit_is_a_document_newest_first(repository: Repository) -> None:
    first = repository.commit(
        {"a.py": b"def f():\n    x = 1\n    y = 2\n    z = 3\n    w = 4\n    return 5\n"}, "First"
    )
    second = repository.commit(
        {"a.py": b"def f():\n    x = 1\n    y = 2\n    z = 3\n    w = 4\n    return 6\n"}, "Second\n\n@file x\n"
    )
    one, two = repository.commits()
    assert one == Document(
        second, repository.uri(second), 0,
        '@message\n#|Second\n#|\n#|@file x\n@file "a.py" modified\n@@|def f():\n3 |    y = 2\n4 |    z = 3\n'
        "5 |    w = 4\n-|    return 5\n6+|    return 6\n",
    )  # fmt: skip
    assert isinstance(two, Document) and two.document_id == first and two.text is not None
    assert two.text.startswith('@message\n#|First\n@file "a.py" added\n@@\n1+|def f():\n')
    assert repository.commits() == [one, two]


def test_a_range_leaves_older_commits_out(repository: Repository) -> None:
    commits = [repository.commit({"a.py": f"{number}\n".encode()}) for number in range(4)]
    found = repository.commits(f"{commits[1]}..master")
    assert [document.document_id for document in found if isinstance(document, Document)] == [commits[3], commits[2]]
    assert repository.commits("HEAD~2..HEAD") == found


def test_each_file_of_a_commit_can_be_a_document(repository: Repository) -> None:
    commit = repository.commit({"a.py": b"a\n", "d/b.py": b"b\n", "x.lock": b"x\n"}, "M")
    assert repository.by_file() == [
        Document(f"{commit}:a.py", repository.uri(commit, "a.py"), 0,
                 '@message\n#|M\n@file "a.py" added\n@@\n1+|a\n'),
        Document(f"{commit}:d/b.py", repository.uri(commit, "d/b.py"), 0,
                 '@message\n#|M\n@file "d/b.py" added\n@@\n1+|b\n'),
        LeftOut(repository.uri(commit), "x.lock", "lock", "by its name"),
    ]  # fmt: skip


def files_of(document: Document | LeftOut) -> str:
    assert isinstance(document, Document) and document.text is not None
    return document.text.removeprefix("@message\n#|m\n")


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({"a": b"1\n2\n3\n"}, {"b": b"1\n2\n3\n4\n"},
         '@file "b" renamed from "a"\n@@\n1 |1\n2 |2\n3 |3\n4+|4\n'),
        ({"a": b"1\n"}, {"a": (FileMode.BLOB_EXECUTABLE, b"2\n")},
         '@file "a" modified\n@note mode 100644 -> 100755\n@@\n-|1\n1+|2\n'),
        ({"a": b"1\n"}, {"a": b"1\n2"}, '@file "a" modified\n@@\n1 |1\n2+|2\n@no-newline\n'),
        ({"a": b"1"}, {"a": b"1\n2\n"}, '@file "a" modified\n@@\n-|1\n@no-newline\n1+|1\n2+|2\n'),
        ({"a": b"1"}, {"a": b"0\n1"}, '@file "a" modified\n@@\n1+|0\n2 |1\n@no-newline\n'),
        ({"a": b"1\r\n2\r\n"}, {"a": b"1\r\n3\r\n"},
         '@file "a" modified\n@note lines end in CRLF\n@@\n1 |1\n-|2\n2+|3\n'),
        ({"a": b"1\r\n"}, {"a": b"1\n"}, '@file "a" modified\n@@\n-|1␍\n1+|1\n'),
        ({"a": b"1\n"}, {"a": b"\xff\n"},
         '@file "a" modified\n@note not all UTF-8: \ufffd stands for what is not\n@@\n-|1\n1+|\ufffd\n'),
        ({"a": b"1\n", "b": b"1\n"}, {"b": b"2\n"}, '@file "a" deleted\n@file "b" modified\n@@\n-|1\n1+|2\n'),
        ({"a": b"1\n"}, {"a": b"1\n", 'ä "q".py': b"1\n"}, '@file "ä \\"q\\".py" added\n@@\n1+|1\n'),
        ({"b": b"1\n"}, {"b": b"2\n", "e.py": b""}, '@file "b" modified\n@@\n-|1\n1+|2\n@file "e.py" added\n'),
    ],
)  # fmt: skip
def test_changes_as_they_are_shown(repository: Repository, before: Files, after: Files, shown: str) -> None:
    repository.commit(before)
    repository.commit(after)
    assert files_of(repository.commits("HEAD~1..HEAD")[0]) == shown


@pytest.mark.parametrize(
    ("before", "after", "left_out"),
    [
        ({"a": b"1\n2\n"}, {"b": b"1\n2\n"}, []),
        ({"a": b"1\n"}, {"a": (FileMode.BLOB_EXECUTABLE, b"1\n")}, []),
        ({"a": b"1\n"}, {}, []),
        ({"a": b"1\n"}, {"a": b"1\n"}, []),
        ({}, {"s": (FileMode.COMMIT, pygit2.Oid(hex="1" * 40))},
         [("s", "submodule", "a submodule; review its own repository")]),
        ({}, {"l": (FileMode.LINK, b"../../etc/passwd")}, [("l", "symlink", "a symbolic link; not followed")]),
        ({"l": b"x\n"}, {"l": (FileMode.LINK, b"/etc/passwd")}, [("l", "symlink", "a symbolic link; not followed")]),
        ({}, {"b": b"\0"}, [("b", "binary", "holds a zero byte")]),
        ({"b": b"\0"}, {"b": b"text\n"}, [("b", "binary", "before the change: holds a zero byte")]),
        ({}, {"u": "text".encode("utf-16")}, [("u", "binary", "holds a zero byte")]),
        ({}, {"a.py": b"x" * 2001},
         [("a.py", "oversized", "line 1 has 2001 characters (max_line_characters is 2000)")]),
        ({"old.py": b"1\n" * 500_001}, {"new.py": b"1\n" * 500_002},
         [("new.py", "oversized", "1000004 bytes (max_file_bytes is 1000000)")]),
    ],
)  # fmt: skip
def test_a_commit_of_which_nothing_is_to_be_reviewed(
    repository: Repository, before: Files, after: Files, left_out: list[tuple[str, str, str]]
) -> None:
    repository.commit(before)
    uri = repository.uri(repository.commit(after))
    *files, whole = repository.commits("HEAD~1..HEAD")
    assert files == [LeftOut(uri, *reason) for reason in left_out]
    assert isinstance(whole, LeftOut) and (whole.document_uri, whole.path, whole.reason) == (uri, "", "no_code")


def test_a_merge_is_left_out_and_its_commits_are_not(repository: Repository) -> None:
    base = repository.commit({"a": b"1\n"})
    side = repository.commit({"a": b"1\n", "b": b"1\n"}, parents=[base])
    main = repository.commit({"a": b"2\n"}, parents=[base])
    merge = repository.commit({"a": b"2\n", "b": b"1\n"}, parents=[main, side])
    first, *others = repository.commits(f"{base}..HEAD")
    assert first == LeftOut(repository.uri(merge), "", "merge", "a merge; its commits are reviewed one by one")
    assert [found.document_id for found in others if isinstance(found, Document)] == [main, side]


def test_settings_and_attributes_of_a_repository_have_no_say(repository: Repository) -> None:
    config = Path(repository.path, "config")
    program = Path(repository.path, "ran")
    config.write_text(
        config.read_text() + f"[diff]\n\texternal = touch {program}\n\tcontext = 0\n\tnoprefix = true\n"
        f'[diff "evil"]\n\ttextconv = touch {program}\n\tbinary = true\n\txfuncname = "(x+x+)+y"\n'
        f"[core]\n\tfsmonitor = touch {program}\n\thooksPath = {repository.path}\n"
    )
    attributes = {".gitattributes": b"*.py binary diff=evil\n"}
    Path(repository.path, "info").mkdir(exist_ok=True)
    Path(repository.path, "info", "attributes").write_bytes(b"*.py binary diff=evil\n")
    repository.commit({"a.py": b"1\n2\n3\n", **attributes})
    repository.commit({"a.py": b"1\n2\n4\n", **attributes})
    assert files_of(repository.commits()[0]) == '@file "a.py" modified\n@@\n1 |1\n2 |2\n-|3\n3+|4\n'
    assert not program.exists()


# --- what fails ------------------------------------------------------------------------------------------------


def test_a_path_out_of_the_tree_fails_its_commit_or_file(repository: Repository) -> None:
    blob = repository.git.create_blob(b"x\n")
    above = raw_tree(repository, ("100644", b"passwd", blob))
    commit = repository.commit(raw_tree(repository, ("40000", b"..", above), ("100644", b"a.py", blob)))
    reason = "path '../passwd' leads out of the tree; mend the path or remove the file"
    assert outcomes(repository.commits()) == [f"{commit}: {reason}"]
    assert outcomes(repository.by_file()) == [f"{commit}:../passwd: {reason}", None]
    place = "path '..' leads out of the tree; mend the path or remove the file"
    assert outcomes(read_tree(repository.path, "HEAD", LIMIT)) == [f"..: {place}", None]


def test_a_path_that_is_not_utf8_fails(repository: Repository) -> None:
    blob = repository.git.create_blob(b"x\n")
    commit = repository.commit(raw_tree(repository, ("100644", b"caf\xe9.py", blob)))
    reason = "path 'caf\\udce9.py' holds control characters or is not UTF-8; rename the file"
    assert outcomes(repository.by_file()) == [f"{commit}:caf\\udce9.py: {reason}"]
    assert outcomes(read_tree(repository.path, "HEAD", LIMIT)) == [f"caf\\udce9.py: {reason}"]


def test_a_change_over_the_limit_fails(repository: Repository) -> None:
    commit = repository.commit({"a.py": b"x\n" * 3_000, "b.py": b"x\n"})
    reason = "changes more than 5000 bytes (limits.max_document_bytes)"
    assert outcomes(repository.commits()) == [f"{commit}: {reason}; review it file by file or raise the limit"]
    assert outcomes(repository.by_file()) == [f"{commit}:a.py: {reason}; leave it out or raise the limit", None]
    over = "file is 6000 bytes (limits.max_document_bytes is 5000); split it or raise the limit"
    assert outcomes(read_tree(repository.path, "HEAD", LIMIT)) == [f"a.py: {over}", None]


def test_folders_too_deep_fail_at_their_depth(repository: Repository) -> None:
    repository.commit({"/".join("d" * 101) + "/a.py": b"x\n", "e.py": b"x\n"})
    place = "/".join("d" * 101)
    assert outcomes(read_tree(repository.path, "HEAD", LIMIT)) == [
        f"{place}: is more than 100 folders deep; leave it out of the tree", None
    ]  # fmt: skip


def test_missing_objects_fail_their_commit_only(repository: Repository) -> None:
    first = repository.commit({"a.py": b"1\n"})
    missing = pygit2.Oid(hex="1" * 40)
    second = repository.commit(raw_tree(repository, ("100644", b"a.py", missing)))
    reason = "needs objects that are missing or damaged (partial clone?); fetch them, or run git fsck"
    assert outcomes(repository.commits()) == [f"{second}: {reason}", None]
    assert outcomes(repository.by_file(f"{first}..HEAD")) == [f"{second}:a.py: {reason}"]
    assert outcomes(read_tree(repository.path, "HEAD", LIMIT)) == [f"a.py: {reason}"]


def test_the_oldest_commit_of_a_shallow_clone_fails(repository: Repository) -> None:
    first = repository.commit({"a.py": b"1\n"})
    second = repository.commit({"a.py": b"2\n"})
    third = repository.commit({"a.py": b"3\n"})
    Path(repository.path, "shallow").write_text(f"{second}\n")
    Path(repository.path, "objects", first[:2], first[2:]).unlink()
    found = repository.commits()
    assert [document.document_id for document in found if isinstance(document, Document)] == [third, second]
    reason = f"{second}: its parent is not in this shallow clone; fetch more history (git fetch --unshallow)"
    assert outcomes(found) == [None, reason]


def test_a_revision_before_the_end_of_a_shallow_clone_is_refused_with_the_next_move(repository: Repository) -> None:
    commits = [repository.commit({"a.py": b"%d\n" % number}) for number in range(3)]
    Path(repository.path, "shallow").write_text(f"{commits[1]}\n")
    Path(repository.path, "objects", commits[0][:2], commits[0][2:]).unlink()
    for revisions, end in (("HEAD~5..HEAD", "HEAD~5"), ("origin/main..HEAD", "origin/main")):
        with pytest.raises(JobError) as refused:
            repository.commits(revisions)
        assert refused.value.problems == [
            f"input: no revision {end!r} in {repository.path!r}, which is a shallow clone; fetch the rest of its "
            "history first (git fetch --unshallow; in GitHub Actions fetch-depth: 0)"
        ]


@pytest.mark.parametrize("extension", ["objectformat = sha256", "refstorage = reftable"])
def test_a_repository_of_another_kind_is_refused_with_the_next_move(tmp_path: Path, extension: str) -> None:
    repository = Repository(tmp_path / "r.git")
    config = Path(repository.path, "config")
    config.write_text(f"[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\t{extension}\n")
    with pytest.raises(JobError) as refused:
        repository.commits()
    (problem,) = refused.value.problems
    assert problem.startswith(f"input: the git repository {repository.path!r} is of a kind that cannot be read here (")
    assert problem.endswith(
        "review patches of its commits instead (git format-patch --stdout A..B > changes.patch), or its files "
        "(review: {tree: true})"
    )


def test_a_history_that_breaks_off_is_said_to(repository: Repository) -> None:
    first = repository.commit({"a.py": b"1\n"})
    repository.commit({"a.py": b"2\n"})
    third = repository.commit({"a.py": b"3\n"})
    Path(repository.path, "objects", first[:2], first[2:]).unlink()
    *others, last = outcomes(repository.commits())
    assert others == [None]
    assert last == f"history: history cannot be followed after {third}; run git fsck and fetch what is missing"


@pytest.mark.parametrize(
    ("revisions", "problem"),
    [
        (
            "HEAD~50..HEAD",
            "no revision 'HEAD~50' in {!r}: 'HEAD' has only 1 commits before it; give 'HEAD' alone for its "
            "whole history, or a range from HEAD~1 on",
        ),
        (
            "master~2",
            "no revision 'master~2' in {!r}: 'master' has only 1 commits before it; give 'master' alone for its "
            "whole history, or a range from master~1 on",
        ),
        (
            "HEAD~1^..",
            "no revision 'HEAD~1^' in {!r}: 'HEAD~1' has only 0 commits before it; give 'HEAD~1' alone for its "
            "whole history, or a range from HEAD~1~0 on",
        ),
        ("nope~5..HEAD", "no revision 'nope~5..HEAD' in {!r}; give a branch, a tag, a commit, or a range A..B"),
        ("nope", "no revision 'nope' in {!r}; give a branch, a tag, a commit, or a range A..B"),
        ("nope..HEAD", "no revision 'nope..HEAD' in {!r}; give a branch, a tag, a commit, or a range A..B"),
        ("--all", "no revision '--all' in {!r}; give a branch, a tag, a commit, or a range A..B"),
        ("", "no revision '' in {!r}; give a branch, a tag, a commit, or a range A..B"),
        ("HEAD^{tree}", "no revision 'HEAD^{{tree}}' in {!r}; give a branch, a tag, a commit, or a range A..B"),
        ("HEAD~1...HEAD", "'HEAD~1...HEAD' is a symmetric range; give A..B"),
        ("HEAD..HEAD~1", "no commits in 'HEAD..HEAD~1' of {!r}; the older revision comes first"),
    ],
)
def test_unknown_revisions_are_refused(repository: Repository, revisions: str, problem: str) -> None:
    repository.commit({"a.py": b"1\n"})
    repository.commit({"a.py": b"2\n"})
    with pytest.raises(JobError) as refused:
        repository.commits(revisions)
    assert refused.value.problems == ["input: " + problem.format(repository.path)]


def test_what_is_no_repository_or_empty_is_refused(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(JobError) as refused:
        repository.commits()
    problem = f"input: the repository {repository.path!r} has no commits; commit something, or name another"
    assert refused.value.problems == [problem]
    inner = Path(repository.path, "objects")
    for nowhere in (tmp_path / "nowhere", tmp_path, inner):
        with pytest.raises(JobError) as refused:
            list(read_tree(str(nowhere), "HEAD", LIMIT))
        why = f"Repository not found at {nowhere}"
        assert refused.value.problems == [f"input: no git repository at {str(nowhere)!r} ({why}); name its folder"]


# --- trees -----------------------------------------------------------------------------------------------------


def test_the_tree_of_a_revision(repository: Repository) -> None:
    commit = repository.commit(
        {
            "a.py": b"x\n",
            "b/__init__.py": b"",
            "b/c.py": b"y",
            "l": (FileMode.LINK, b"/etc/passwd"),
            "s": (FileMode.COMMIT, pygit2.Oid(hex="1" * 40)),
            "vendor/x.go": b"x\n",
        }
    )
    repository.commit({"later.py": b"x\n"})
    uri = repository.uri(commit)
    found = list(read_tree(repository.path, "HEAD~1", LIMIT))
    assert found == [
        Document("a.py", f"{uri}:a.py", 0, '@file "a.py" whole\n@@\n1 |x\n'),
        LeftOut(uri, "b/__init__.py", "empty", "0 bytes"),
        Document("b/c.py", f"{uri}:b/c.py", 0, '@file "b/c.py" whole\n@@\n1 |y\n@no-newline\n'),
        LeftOut(uri, "l", "symlink", "a symbolic link; not followed"),
        LeftOut(uri, "s", "submodule", "a submodule; review its own repository"),
        LeftOut(uri, "vendor/", "vendored", "in a folder named 'vendor'"),
    ]
    assert list(read_tree(repository.path, commit[:10], LIMIT)) == found


def test_a_tree_has_one_revision(repository: Repository) -> None:
    repository.commit({"a.py": b"1\n"})
    repository.commit({"a.py": b"2\n"})
    with pytest.raises(JobError) as refused:
        list(read_tree(repository.path, "HEAD~1..HEAD", LIMIT))
    problem = "input: 'HEAD~1..HEAD' is a range, a tree has one revision; give a branch, a tag or a commit"
    assert refused.value.problems == [problem]


def test_a_working_tree_is_read_by_its_folder(tmp_path: Path) -> None:
    git = pygit2.init_repository(str(tmp_path / "w"))
    blob = git.create_blob(b"committed\n")
    builder = git.TreeBuilder()
    builder.insert("a.py", blob, FileMode.BLOB)
    git.create_commit("HEAD", SIGNATURE, SIGNATURE, "m", builder.write(), [])
    (tmp_path / "w" / "a.py").write_text("not committed\n")
    (document,) = read_tree(str(tmp_path / "w"), "HEAD", LIMIT)
    assert isinstance(document, Document) and document.text == '@file "a.py" whole\n@@\n1 |committed\n'
