"""A source tree in a folder: what is read, what is left out, and that nothing outside is ever read."""

import os
from pathlib import Path

import pytest

from pipelines.documents.code.reading.folder import read_folder
from pipelines.documents.code.records import LeftOut
from pipelines.documents.records import Document
from pipelines.documents.sources.own_places import OwnPlaces
from pipelines.errors import JobError

LIMIT = 1_000


def read(root: Path, limit: int = LIMIT) -> list[Document | LeftOut]:
    return list(read_folder(str(root), limit))


def write(root: Path, **files: bytes) -> None:
    for name, data in files.items():
        (root / name).write_bytes(data)


def test_files_are_shown_whole_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "__init__.py").write_bytes(b"import os\n\nX = 1\n")
    (tmp_path / "c.py").write_bytes(b"a\r\nb")
    (tmp_path / "a.sql").write_bytes(b"\xef\xbb\xbfSELECT '\xe9';\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"[core]\n")
    assert read(tmp_path) == [
        Document("a.sql", f"{tmp_path}/a.sql", 0,
                 '@file "a.sql" whole\n@note not all UTF-8: \ufffd stands for what is not\n@@\n'
                 "1 |SELECT '\ufffd';\n"),
        Document("b/__init__.py", f"{tmp_path}/b/__init__.py", 0,
                 '@file "b/__init__.py" whole\n@@\n1 |import os\n2 |\n3 |X = 1\n'),
        Document("c.py", f"{tmp_path}/c.py", 0,
                 '@file "c.py" whole\n@note lines end in CRLF\n@@\n1 |a\n2 |b\n@no-newline\n'),
    ]  # fmt: skip


def test_the_same_tree_gives_the_same_documents(tmp_path: Path) -> None:
    write(tmp_path, **{f"f{number}.py": b"x\n" for number in range(50)})
    assert read(tmp_path) == read(tmp_path)


def test_files_left_out_are_listed_with_their_reason(tmp_path: Path) -> None:
    (tmp_path / "node_modules" / "deep").mkdir(parents=True)
    (tmp_path / "node_modules" / "deep" / "x.js").write_bytes(b"x\n")
    write(
        tmp_path,
        **{"a.lock": b"x\n", "b.bin2": b"a\0", "c.py": b"", "d.py": b"# @generated\n", "e.py": b"x" * 1_000_001},
    )
    (tmp_path / "f.py").write_text("x" * 2_001)
    root = str(tmp_path)
    assert read(tmp_path) == [
        LeftOut(root, "a.lock", "lock", "by its name"),
        LeftOut(root, "b.bin2", "binary", "holds a zero byte"),
        LeftOut(root, "c.py", "empty", "0 bytes"),
        LeftOut(root, "d.py", "generated", "says so itself in line 1"),
        LeftOut(root, "e.py", "oversized", "1000001 bytes (max_file_bytes is 1000000)"),
        LeftOut(root, "f.py", "oversized", "line 1 has 2001 characters (max_line_characters is 2000)"),
        LeftOut(root, "node_modules/", "vendored", "in a folder named 'node_modules'"),
    ]


def test_links_are_not_followed_wherever_they_lead(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("KEY = 'secret'\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.py").write_text("x\n")
    (tree / "file.py").symlink_to(outside / "secret.py")
    (tree / "folder").symlink_to(outside)
    (tree / "inside.py").symlink_to("a.py")
    (tree / "dangling.py").symlink_to("nowhere")
    first, *links = read(tree)
    assert isinstance(first, Document) and first.document_id == "a.py"
    assert links == [
        LeftOut(str(tree), name, "symlink", "a symbolic link; not followed")
        for name in ("dangling.py", "file.py", "folder", "inside.py")
    ]


def test_the_tree_itself_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.py").write_text("x\n")
    (tmp_path / "link").symlink_to("tree")
    assert [found.document_id for found in read(tmp_path / "link") if isinstance(found, Document)] == ["a.py"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    assert read(tmp_path) == [LeftOut(str(tmp_path), "pipe.py", "binary", "not a regular file")]


def failures(root: Path, limit: int = LIMIT) -> list[str | None]:
    return [found.failure for found in read(root, limit) if isinstance(found, Document)]


def test_a_file_over_the_limit_fails(tmp_path: Path) -> None:
    write(tmp_path, **{"a.py": b"x\n" * 600, "b.py": b"x\n"})
    reason = "file is 1200 bytes (limits.max_document_bytes is 1000); split it or raise the limit"
    assert failures(tmp_path) == [f"a.py: {reason}", None]


def test_names_that_cannot_be_printed_fail(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.py")).write_text("x\n")
    (tmp_path / "a\nb.py").write_text("x\n")
    advice = "holds control characters or is not UTF-8; rename the file"
    assert failures(tmp_path) == [f"a␊b.py: path 'a\\nb.py' {advice}", f"caf\\udce9.py: path 'caf\\udce9.py' {advice}"]


def test_a_tree_too_deep_to_follow_fails_at_its_depth(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 101)).mkdir(parents=True)
    (tmp_path / "a.py").write_text("x\n")
    assert failures(tmp_path) == [
        None, f"{'/'.join('d' * 101)}: is more than 100 folders deep; review its parent on its own"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "may not be read (permission denied); grant read access"),
        (FileNotFoundError(2, "No such file"), "gone since it was listed; put it back or start a new run"),
        (OSError(40, "Too many levels of symbolic links"),
         "became a link while it was listed; leave the tree alone or start a new run"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_opened_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    write(tmp_path, **{"a.py": b"x\n", "b.py": b"x\n"})
    (tmp_path / "c").mkdir()
    opened = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path in ("a.py", "c"):
            raise error
        return opened(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)  # tests may run as root, whom no permission stops
    assert failures(tmp_path) == [f"a.py: {reason}", None, f"c: {reason}"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nowhere", "cannot read the folder {!r} (No such file or directory); name a source tree"),
        ("file", "cannot read the folder {!r} (Not a directory); name a source tree"),
        ("empty", "the folder {!r} is empty; name a source tree"),
    ],
)
def test_a_location_without_a_tree_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(JobError) as refused:
        read(tmp_path / name)
    assert refused.value.problems == ["input: " + problem.format(str(tmp_path / name))]


def test_open_folders_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "a.py").write_text("x\n")
    before = len(os.listdir("/proc/self/fd"))
    for _ in read_folder(str(tmp_path), LIMIT):
        assert len(os.listdir("/proc/self/fd")) <= before + 4
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("output", ["out", "."])
def test_what_the_jobs_runs_write_is_left_out(tmp_path: Path, output: str) -> None:
    write(tmp_path, **{"a.py": b"x\n"})
    run = tmp_path / output / "run_x"
    run.mkdir(parents=True)
    write(run, **{"job.yaml": b"x\n", "run.json": b"{}\n"})
    own = OwnPlaces(str(tmp_path / output))
    first, left_out = read_folder(str(tmp_path), LIMIT, own)
    assert isinstance(first, Document) and first.document_id == "a.py"
    path = "out/" if output == "out" else "run_x/"
    assert left_out == LeftOut(str(tmp_path), path, "output", "what this job's runs write")
