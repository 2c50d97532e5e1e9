"""A local folder: every entry in it is read, or told with its reason, and one bad entry stops nothing."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import Listing, RowColumns, SourceFile
from pipelines.documents.sources.own_places import OwnPlaces
from pipelines.documents.sources.since_last import sources_of, sources_table
from pipelines.documents.sources.sources import list_input, list_sources
from pipelines.errors import JobError, NoInputError
from pipelines.store.s3_reading import CHANGED


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "sub").mkdir(parents=True)
    (tmp_path / "docs" / "a.txt").write_text("We were charged twice.\n")
    (tmp_path / "docs" / "sub" / "b.txt").write_text("The office is offline.\n")
    return tmp_path / "docs"


READABLE = ["a.txt", "sub/b.txt"]


def listed(docs: Path, own: OwnPlaces | None = None) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """What is read, what fails and what is left out, each with its reason."""
    found = list_input(str(docs), own or OwnPlaces())
    read = [source.path for source in found.sources if source.problem is None]
    failed = {source.path: source.problem for source in found.sources if source.problem is not None}
    return read, failed, {each.path: each.reason for each in found.left_out}


def failure(source: SourceFile) -> str | None:
    (document,) = read_documents(source, RowColumns(), 1_000)
    return document.failure


def test_a_folder_that_is_reached_twice_is_read_once(docs: Path) -> None:
    (docs / "sub" / "loop").symlink_to("..")
    (docs / "sub" / "self").symlink_to(".")
    (docs / "again").symlink_to("sub")
    assert listed(docs) == (READABLE, {}, {"again/": "repeated", "sub/loop/": "repeated", "sub/self/": "repeated"})


def test_a_link_to_nothing_or_in_a_circle_fails_alone(docs: Path) -> None:
    (docs / "gone.txt").symlink_to("/nowhere/x.txt")
    (docs / "circle.txt").symlink_to("circle.txt")
    (docs / "through.txt").symlink_to("a.txt/x.txt")
    read, failed, left_out = listed(docs)
    nothing = "is a link to nothing; remove it or put back what it leads to"
    assert (read, left_out) == (READABLE, {})
    assert failed == {
        "circle.txt": "is a link that leads in a circle; remove it", "gone.txt": nothing, "through.txt": nothing
    }  # fmt: skip
    gone = next(source for source in list_sources(str(docs)) if source.path == "gone.txt")
    assert failure(gone) == f"gone.txt: {nothing}"


def test_links_that_lead_out_of_the_folder_are_not_followed(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    (tmp_path / "docs-too").mkdir()  # begins with the folder's name
    for name, target in {"file.txt": "outside/secret.txt", "etc": "/etc", "up": "..", "near": "../docs-too"}.items():
        (docs / name).symlink_to(tmp_path / target if name != "up" else "..")
    (docs / "near").unlink()
    (docs / "near").symlink_to("../docs-too")
    (docs / "hop.txt").symlink_to("file.txt")
    read, failed, left_out = listed(docs)
    assert (read, left_out) == (READABLE, {})
    assert sorted(failed) == ["etc", "file.txt", "hop.txt", "near", "up"]
    assert all("leads out of the input folder" in problem for problem in failed.values())


def test_links_that_stay_inside_are_followed(docs: Path) -> None:
    (docs / "..data").mkdir()  # as Kubernetes mounts files
    (docs / "..data" / "c.txt").write_text("c")
    (docs / "c.txt").symlink_to("..data/c.txt")
    (docs / "current").symlink_to("..data")
    read, failed, left_out = listed(docs)
    assert (read, failed) == ([*READABLE[:1], "c.txt", "current/c.txt", "sub/b.txt"], {})
    assert left_out == {"..data/": "hidden"}


def test_the_folder_itself_and_a_file_named_outright_may_be_links(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("docs")
    (tmp_path / "latest.txt").symlink_to("docs/a.txt")
    assert listed(tmp_path / "link")[0] == READABLE
    (source,) = list_sources(str(tmp_path / "latest.txt"))
    assert (source.path, failure(source)) == ("latest.txt", None)
    assert [failure(source) for source in list_sources(str(tmp_path / "link"))] == [None, None]


BAD_NAMES = [b"caf\xe9.txt", b"a\nb.txt", b"\x1b[2J.txt", b"x\x7f.txt", "c1\x85.txt".encode(), "ls\u2028.txt".encode()]


def test_names_that_cannot_be_written_down_fail_alone(docs: Path) -> None:
    for name in BAD_NAMES:
        Path(os.fsdecode(os.fsencode(docs) + b"/" + name)).write_text("x")
    Path(os.fsdecode(os.fsencode(docs) + b"/dir\xff")).mkdir()
    Path(os.fsdecode(os.fsencode(docs) + b"/dir\xff/inner.txt")).write_text("x")
    read, failed, _ = listed(docs)
    assert read == READABLE
    assert sorted(failed) == sorted(
        ["caf\\xe9.txt", "a\\nb.txt", "\\x1b[2J.txt", "x\\x7f.txt", "c1\\x85.txt", "ls\\u2028.txt", "dir\\xff"]
    )
    assert set(failed.values()) == {"its name is not UTF-8 or holds a line break or control character; rename it"}
    sources = list_sources(str(docs))
    assert sources_of(sources_table(sources)) == sources, "and it can be kept in a list"


def test_a_name_made_to_look_like_another_takes_nothing_from_it(docs: Path) -> None:
    (docs / "a\\nb.txt").write_text("readable")
    (docs / "a\nb.txt").write_text("not")
    sources = list_sources(str(docs))
    assert [source.path for source in sources] == ["a.txt", "a\\nb.txt", "sub/b.txt", "a\\nb.txt"]
    assert len({source.uri for source in sources}) == 4
    assert [failure(source) is None for source in sources] == [True, True, True, False]


def test_hidden_names_and_unfinished_uploads_are_told(docs: Path) -> None:
    (docs / "_names").mkdir()
    (docs / "_names" / "x.txt").write_text("x")
    for name in (".DS_Store", "_SUCCESS", "c.txt.part", "sub/D.TMP"):
        (docs / name).write_text("x")
    (docs / "folder.tmp").mkdir()
    (docs / "folder.tmp" / "e.txt").write_text("x")
    assert listed(docs) == (
        ["a.txt", "folder.tmp/e.txt", "sub/b.txt"],
        {},
        {
            "_names/": "hidden", ".DS_Store": "hidden", "_SUCCESS": "hidden",
            "c.txt.part": "unfinished", "sub/D.TMP": "unfinished",
        },
    )  # fmt: skip


def test_what_is_no_file_is_told_and_not_opened(docs: Path) -> None:
    os.mkfifo(docs / "pipe.txt")
    (docs / "s").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(docs)  # a socket's path may be no longer than 108 bytes
        listening.bind("socket.txt")
        os.chdir(here)
    (docs / "to_pipe.txt").symlink_to("pipe.txt")
    assert listed(docs) == (
        READABLE, {}, {"pipe.txt": "special", "socket.txt": "special", "to_pipe.txt": "special"}
    )  # fmt: skip


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENAMETOOLONG])
def test_a_folder_that_cannot_be_listed_fails_alone(docs: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("/sub"):
            raise OSError(code, os.strerror(code))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # tests may run as root, whom no permission stops
    read, failed, _ = listed(docs)
    assert (read, list(failed)) == (["a.txt"], ["sub"])


def test_paths_too_long_to_be_opened_fail_alone(docs: Path) -> None:
    here = os.getcwd()
    os.chdir(docs)
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    Path("deep.txt").write_text("x")
    os.chdir(here)
    read, failed, _ = listed(docs)
    assert read == READABLE
    assert list(failed.values()) == ["its path is too long to be opened; give it a shorter name or place"]


def test_a_longest_name_is_read(docs: Path) -> None:
    (docs / ("x" * 251 + ".txt")).write_text("x")
    assert len(listed(docs)[0]) == 3


@pytest.mark.parametrize("output", ["docs/out", "docs/sub/../out/", "link/out", "file://{}/docs/out"])
def test_the_runs_own_output_is_not_its_input(docs: Path, tmp_path: Path, output: str) -> None:
    (tmp_path / "link").symlink_to("docs")
    place = output.format(tmp_path) if "://" in output else str(tmp_path / output)
    own = OwnPlaces(place, str(docs / "state"))
    before = list_input(str(docs), own).sources
    for name in ("out/run_x/results/part.parquet", "out/run_x/job.yaml", "state/logs/1.log"):
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text("x")
    (docs / "p.parquet").symlink_to("out/run_x/results/part.parquet")
    found = list_input(str(docs), own)
    assert found.sources == before
    assert {each.path: each.reason for each in found.left_out} == {
        "out/": "output", "p.parquet": "output", "state/": "state"
    }  # fmt: skip
    assert [source.path for source in list_input(f"{docs}/**/*.txt", own).sources] == READABLE


def test_runs_written_straight_into_the_input_are_not_its_input(docs: Path) -> None:
    (docs / "run_x" / "plan").mkdir(parents=True)
    for name in ("job.yaml", "run.json", "plan/part-00000.arrow"):
        (docs / "run_x" / name).write_text("x")
    assert listed(docs, OwnPlaces(str(docs))) == (READABLE, {}, {"run_x/": "output"})


def test_a_glob_tells_only_of_what_it_asks_for(docs: Path) -> None:
    (docs / ".c.txt").write_text("x")
    (docs / ".d.csv").write_text("x")
    (docs / "e.txt").symlink_to("nowhere")
    (docs / "e.csv").symlink_to("nowhere")
    found = list_input(f"{docs}/*.txt")
    assert [source.path for source in found.sources] == ["a.txt", "e.txt"]
    assert [each.path for each in found.left_out] == [".c.txt"]


def test_a_folder_where_all_is_left_out_says_so(tmp_path: Path) -> None:
    (tmp_path / "_a.txt").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NoInputError, match=r"left out: 2 \(1 hidden, 1 special\)"):
        list_sources(str(tmp_path))


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("/dev/zero", "cannot list '/dev/zero' (not a regular file)"),
        ("a\0b", "cannot be used (its name"),
        ("a\nb", "cannot be used (its name"),
        ("file://[::1", "cannot list"),
        ("x" * 300, "nothing found at"),
    ],
)
def test_a_location_that_cannot_be_one_is_refused(location: str, problem: str) -> None:
    with pytest.raises(JobError) as refused:
        list_sources(location)
    assert problem in refused.value.problems[0]


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "link in the path"])
def test_what_takes_a_files_place_after_it_was_listed_is_not_read(docs: Path, tmp_path: Path, what: str) -> None:
    secret = tmp_path / "secret" / "b.txt"
    secret.parent.mkdir()
    secret.write_text("As long as the other..\n")
    placed = docs / "sub" / "b.txt"
    times = placed.stat().st_mtime_ns, secret.stat().st_mtime_ns
    os.utime(placed, ns=(times[1], times[1]))  # the same size and time: the version tells nothing
    source = next(source for source in list_sources(str(docs)) if source.path == "sub/b.txt")
    assert placed.stat().st_size == secret.stat().st_size
    placed.unlink()
    if what == "link":
        placed.symlink_to(secret)
    elif what == "pipe":
        os.mkfifo(placed)
    elif what == "folder":
        placed.mkdir()
    else:
        placed.parent.rmdir()
        placed.parent.symlink_to(secret.parent)
    assert failure(source) == f"sub/b.txt: {CHANGED}"


def test_a_listing_says_as_much_of_many_entries_as_of_few(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.txt").symlink_to("nowhere" if number % 3 == 0 else f"../{tmp_path.name}/{number}.data")
        (tmp_path / f"{number}.data").write_text("x")
    found: Listing = list_input(str(tmp_path))
    assert Counter(source.problem is None for source in found.sources) == {True: 500, False: 100}
