"""Diffs: what is shown of them, what is left out, and the exact message for each that cannot be used."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.code.reading.diffs import show_diff
from pipelines.documents.code.reading.patch_reader import read_patches
from pipelines.documents.code.records import LeftOut
from pipelines.documents.code.shown import LineMap
from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import Document, RowColumns
from pipelines.documents.sources.sources import list_sources

HEADER = "diff --git a/a.py b/a.py\nindex 1..2 100644\n--- a/a.py\n+++ b/a.py\n"
DIFF = HEADER + "@@ -1,3 +1,3 @@ def f():\n one\n-two\n+TWO\n three\n"
TWICE = DIFF + HEADER + "@@ -9 +9 @@\n-nine\n+NINE\n"


def show(text: str) -> list[Document | LeftOut]:
    return list(show_diff(Document("d", "u", 3, text, "gold", attributes={"team": "a"})))


def shown(text: str) -> str:
    (document,) = show(text)
    assert isinstance(document, Document) and document.failure is None
    assert document.text is not None
    return document.text


def failure(text: str) -> str | None:
    (document,) = show(text)
    assert isinstance(document, Document) and document.text is None
    return document.failure


def left_out(text: str) -> list[tuple[str, str, str]]:
    return [(found.path, found.reason, found.detail) for found in show(text) if isinstance(found, LeftOut)]


def test_a_diff_is_shown_with_the_line_numbers_of_the_new_file() -> None:
    text = '@file "a.py" modified\n@@|def f():\n1 |one\n-|two\n2+|TWO\n3 |three\n'
    assert show(DIFF) == [Document("d", "u", 3, text, "gold", attributes={"team": "a"})]


def test_a_failed_document_stays_as_it_is() -> None:
    document = Document("d", "u", 3, None, failure="d: is blank")
    assert list(show_diff(document)) == [document]


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("--- a.py\t2026-01-02 10:00\n+++ a.py\t2026-01-03\n@@ -1 +1 @@\n-a\n+b\n", '@file "a.py" modified\n'),
        ("--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+b\n", '@file "a.py" added\n'),
        (HEADER.replace("index 1..2 100644", "old mode 100644\nnew mode 100755") + "@@ -1 +1 @@\n-a\n+b\n",
         '@file "a.py" modified\n@note mode 100644 -> 100755\n'),
        ("diff --git a/x y.py b/a b.py\nsimilarity index 80%\nrename from x y.py\nrename to a b.py\n--- a/x y.py\t\n"
         "+++ b/a b.py\t\n@@ -1 +1 @@\n-a\n+b\n", '@file "a b.py" renamed from "x y.py"\n'),
        ("diff --git a/x.py b/a.py\nsimilarity index 80%\ncopy from x.py\ncopy to a.py\n--- a/x.py\n+++ b/a.py\n"
         "@@ -1 +1 @@\n-a\n+b\n", '@file "a.py" copied from "x.py"\n'),
        ('--- "a/\\303\\244 \\"q.py"\n+++ "b/\\303\\244 \\"q.py"\n@@ -1 +1 @@\n-a\n+b\n',
         '@file "ä \\"q.py" modified\n'),
    ],
)  # fmt: skip
def test_paths_renames_and_modes(text: str, head: str) -> None:
    assert shown(text).startswith(head + "@@\n")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("-a\n+b\n\\ No newline at end of file\n", "-|a\n1+|b\n@no-newline\n"),
        ("-a\n\\ No newline at end of file\n+b\n", "-|a\n@no-newline\n1+|b\n"),
        ("-a\n+b", "-|a\n1+|b\n"),
        ("-a\r\n+b\n", "-|a␍\n1+|b\n"),
        ("-a\n+b\x0cc\x85\n", "-|a\n1+|b␌c␤\n"),
        ('-a\n+@file "x.py" whole\n', '-|a\n1+|@file "x.py" whole\n'),
        ("--- drop\n+++ add\n", "-|-- drop\n1+|++ add\n"),
    ],
)
def test_lines_as_they_are_shown(lines: str, expected: str) -> None:
    assert shown(f"{HEADER}@@ -1 +1 @@\n{lines}") == f'@file "a.py" modified\n@@\n{expected}'


def test_windows_line_ends_of_the_files_are_noted_and_dropped() -> None:
    text = f"{HEADER}@@ -1,2 +1,2 @@\n one\r\n-two\r\n+TWO\n\\ No newline at end of file\n"
    assert shown(text) == ('@file "a.py" modified\n@note lines end in CRLF\n@@\n1 |one\n-|two\n2+|TWO\n@no-newline\n')


def test_windows_line_ends_of_the_diff_itself_are_taken_off() -> None:
    assert shown(DIFF.replace("\n", "\r\n")) == shown(DIFF)


def test_the_message_before_a_diff_is_shown_and_cut_when_long() -> None:
    text = shown("Fix it\n\n@file x\n---\n a.py | 2 +-\n\n" + DIFF)
    assert text.startswith('@message\n#|Fix it\n#|\n#|@file x\n@file "a.py" modified\n')
    text = shown("".join(f"line {number}\n" for number in range(40)) + DIFF)
    assert "#|line 29\n#|…\n@file" in text
    assert "#|" + "x" * 2000 + "\n#|…\n" in shown("x" * 3000 + "\n" + DIFF)


def test_what_is_not_utf8_is_noted() -> None:
    assert '@file "a.py" modified\n@note not all UTF-8: \ufffd stands for what is not\n' in shown(
        DIFF.replace("TWO", "T\ufffd")
    )


def test_rows_with_a_diff_keep_their_ids_and_columns(tmp_path: Path) -> None:
    rows = [{"pr": 7, "patch": DIFF, "team": "a"}, {"pr": 8, "patch": "?", "team": "b"}, {"pr": 9, "patch": None}]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    columns = RowColumns(text="patch", id="pr", attributes=frozenset({"team"}))
    for name, first in (("d.jsonl", 1), ("d.parquet", 0)):
        (source,) = list_sources(str(tmp_path / name))
        found = [shown for row in read_documents(source, columns, 1_000) for shown in show_diff(row)]
        assert [(one.document_id, one.document_offset) for one in found if isinstance(one, Document)] == [
            ("7", first), ("8", first + 1), ("9", first + 2)
        ]  # fmt: skip
        assert found[0] == Document("7", source.uri, first, shown(DIFF), attributes={"team": "a"})
        assert [one.failure for one in found[1:] if isinstance(one, Document)] == [
            "8: holds no unified diff; send the output of git diff, git format-patch or diff -u",
            f"{name}:{first + 2}: 'patch' is null; fill it in or remove the row",
        ]


def test_hunks_without_context_may_touch() -> None:
    text = shown(HEADER + "@@ -3,0 +4,2 @@\n+a\n+b\n@@ -6,2 +5,0 @@\n-c\n-d\n@@ -9 +6 @@\n-e\n+f\n")
    assert text == '@file "a.py" modified\n@@\n4+|a\n5+|b\n@@\n-|c\n-|d\n@@\n-|e\n6+|f\n'


OTHER = DIFF.replace("a.py", "o.py")


@pytest.mark.parametrize(
    "trailer",
    [
        "-- \n2.39.5\n\n",
        "--\n2.39.5\n",
        "--\nA. Person\n+1 555 0100\n",
        "---\nSome words below the patch.\n",
        "--- some words\n+++ and more\n",
        "- one thing\n- another\n",
        "+ one thing\n",
        "* one thing\n",
        "\n indented words\n",
        "base-commit: 0123\nprerequisite-patch-id: 4567\n",
        "-- \n_______________\nlist mailing list\n- its rules\n",
        "```\n\nwords\n",
        "\r\n\r\n",
        "Only in new: x.py\nBinary files are never read and differ\n",
    ],
)
def test_what_follows_the_last_hunk_of_a_file_is_prose(trailer: str) -> None:
    assert shown(DIFF + trailer) == shown(DIFF)
    assert shown(DIFF + trailer + OTHER) == shown(DIFF + OTHER)


@pytest.mark.parametrize("between", ["\n", "Some words.\n", "\n- a remark\n"])
def test_words_between_two_hunks_are_prose(between: str) -> None:
    more = "@@ -9 +9 @@\n-nine\n+NINE\n"
    assert shown(DIFF + between + more) == shown(DIFF + more)


def test_words_before_a_diff_are_its_message_whatever_they_look_like() -> None:
    text = shown("Fix it\n--- a list\n+++ of things\nBinary files are what differ\n\n" + DIFF)
    assert text.startswith("@message\n#|Fix it\n#|--- a list\n#|+++ of things\n#|Binary files are what differ\n@file")


def test_spaces_that_a_mailer_took_off_are_no_harm() -> None:
    whole = HEADER + "@@ -1,6 +1,6 @@\n one\n \n-two\n+TWO\n \n three\n \n"
    assert shown(whole.replace(" \n", "\n")) == shown(whole)
    assert shown(whole.replace(" \n", "\n") + "--\n2.39.5\n") == shown(whole)
    stripped = shown(whole.rstrip())
    assert shown(whole).startswith(stripped) and "5 |three" in stripped


def test_a_diff_cut_off_within_a_hunk_is_not_taken_for_a_stripped_one() -> None:
    assert "not a well-formed unified diff at line 6" in (failure(HEADER + "@@ -1,6 +1,6 @@\n one\n") or "")


def test_a_removed_line_that_looks_like_a_header_in_crlf_does_not_make_the_diff_one_of_windows() -> None:
    text = shown(HEADER + "@@ -1,2 +1 @@\n--- drop\r\n-a\r\n+a\n")
    assert text == '@file "a.py" modified\n@@\n-|-- drop␍\n-|a␍\n1+|a\n'


@pytest.mark.parametrize(
    ("name", "shown_files"),
    [
        ("all-trailing-space-stripped.patch", ["c/price.py", "src/price.py", "with space.py"]),
        ("signature-space-stripped.patch", ["c/price.py", "src/price.py", "with space.py"]),
    ],
)
def test_patches_from_the_field(name: str, shown_files: list[str]) -> None:
    (source,) = list_sources(str(Path(__file__).parent / "patches" / name))
    (document,) = read_patches(source, RowColumns(), 10_000)
    found = list(show_diff(document))
    assert [(one.path, one.reason) for one in found if isinstance(one, LeftOut)] == [("logo.dat", "binary")]
    assert isinstance(found[-1], Document) and found[-1].text is not None
    assert list(LineMap.of(found[-1].text).paths) == shown_files
    assert "@file " + json.dumps(shown_files[0]) + " modified\n" in found[-1].text


pieces = st.sampled_from(
    [
        *DIFF.splitlines(), "-x", "+x", " x", "", "\r", "\\ No newline at end of file", "-- ", "--- x", "+++ x",
        "@@ -1 +1 @@", "@@ -0,0 +1,2 @@ @@", "@@@ -1 -1 +1 @@@", "diff --git a/b b/b", '+++ "b/\\777"', "\u2028",
        "rename from a", "rename to ../b", "new file mode 120000", "deleted file mode 1", "old mode 1",
        "GIT binary patch", "Binary files a and b differ",
    ]
)  # fmt: skip


@given(st.lists(pieces, max_size=14).map("\n".join), st.booleans())
def test_any_text_is_shown_left_out_or_failed(text: str, follows_a_diff: bool) -> None:
    found = show(DIFF + text if follows_a_diff else text)
    *others, last = found
    assert all(isinstance(one, LeftOut) for one in others)
    if isinstance(last, Document):
        assert (last.text is None) is not (last.failure is None)
        assert last.text is None or LineMap.of(last.text).paths


def test_a_hunk_of_no_lines_is_nothing_to_review() -> None:
    (left_out,) = show(HEADER + "@@ -0,0 +0,0 @@\n")
    assert isinstance(left_out, LeftOut) and left_out.reason == "no_code"


def test_a_diff_of_50_000_lines_keeps_every_line_number() -> None:
    lines = "".join(f" same {number}\n+new {number}\n" for number in range(25_000))
    text = shown(f"{HEADER}@@ -1,25000 +1,50000 @@\n{lines}")
    found = LineMap.of(text)
    assert all(found.contains("a.py", number) for number in range(1, 50_001)) and not found.contains("a.py", 50_001)
    assert found.text_at("a.py", 50_000) == "new 24999"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing here\n", "holds no unified diff; send the output of git diff, git format-patch or diff -u"),
        (HEADER + "@@ -1,9 +1,9 @@\n-a\n+b\n",
         "not a well-formed unified diff at line 7 (wrong hunk counts or headers out of order); make the diff again"),
        (HEADER + "@@ -1,9 +1,9 @@\n-secret\n+b\n" + DIFF,
         "not a well-formed unified diff at line 8 (wrong hunk counts or headers out of order); make the diff again"),
        (HEADER + "@@ -1,2 +1,1 @@\n-a\n+b\n+c\n d\n",
         "not a well-formed unified diff at line 8 (wrong hunk counts or headers out of order); make the diff again"),
        (HEADER + "@@ -1 +1 @@",
         "not a well-formed unified diff at line 5 (wrong hunk counts or headers out of order); make the diff again"),
        (HEADER + "@@ -1 +1 @@\n-a\n+b\n+secret\n@@ -9 +9 @@\n-c\n+d\n",
         "hunk has more lines than its header says at line 8; make the diff again"),
        (HEADER + "@@ -1,3 +1,3 @@\n-a\n+b\n one\n--\n2.39.5\n",
         "not a well-formed unified diff at line 10 (wrong hunk counts or headers out of order); make the diff again"),
        ("diff --git a/a.py b/a.py\nindex 1..2 100644\n--- a/a.py\n",
         "not a well-formed unified diff at line 3 (wrong hunk counts or headers out of order); make the diff again"),
        ("@@ -1 +1 @@\n-a\n+b\n",
         "not a well-formed unified diff at line 1 (wrong hunk counts or headers out of order); make the diff again"),
        (f"{HEADER}@@ -1 +{'9' * 5000} @@\n-a\n+b\n",
         "not a well-formed unified diff at line 5 (wrong hunk counts or headers out of order); make the diff again"),
        (f"{HEADER}@@ -1 +9999999999 @@\n-a\n+b\n", "hunk goes beyond line 1000000000; make the diff again"),
        ("diff --cc a.py\n--- a/a.py\n+++ b/a.py\n@@@ -1,1 -1,1 +1,1 @@@\n  a\n",
         "is the combined diff of a merge; send a diff against one parent"),
        (DIFF + "@@ -2 +2 @@\n-two\n+2\n", "hunk at line 2 of a file is not below the one before; make the diff again"),
        (HEADER + "@@ -0,0 +0 @@\n+a\n", "hunk at line 0 of a file is not below the one before; make the diff again"),
        (DIFF + TWICE, "changes 'a.py' twice; send one diff for each commit (git format-patch)"),
        (DIFF.replace("b/a.py", "b/../../etc/passwd").replace("a/a.py", "a/../../etc/passwd"),
         "path '../../etc/passwd' leads out of the tree; mend the path or remove the file"),
        ("diff --git a/../b.py b/a.py\nsimilarity index 90%\nrename from ../b.py\nrename to a.py\n"
         "--- a/../b.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b\n",
         "path '../b.py' leads out of the tree; mend the path or remove the file"),
        ("--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n",
         "path '/etc/passwd' leads out of the tree; mend the path or remove the file"),
        ('--- "a/caf\\351.py"\n+++ "b/caf\\351.py"\n@@ -1 +1 @@\n-a\n+b\n',
         "path 'caf\\udce9.py' holds control characters or is not UTF-8; rename the file"),
        (f"diff --git a/{' b/' * 5000}\n{DIFF}", "header line has more than 9000 characters; make the diff again"),
        (f"Binary files {' and ' * 5000} differ\n", "header line has more than 9000 characters; make the diff again"),
    ],
)  # fmt: skip
def test_a_diff_that_cannot_be_used_is_a_failed_document(text: str, reason: str) -> None:
    assert failure(text) == f"d: {reason}"


@pytest.mark.parametrize(
    ("text", "path", "reason", "detail"),
    [
        (DIFF.replace("a.py", "yarn.lock"), "yarn.lock", "lock", "by its name"),
        ("diff --git a/x b/x\nindex 1..2 100644\nBinary files a/x and b/x differ\n", "x", "binary", "the diff says so"),
        ("diff --git a/x b/x\nindex 1..2 100644\nGIT binary patch\nliteral 2\nJcmZQzU|?XJ\n\n", "x", "binary",
         "the diff says so"),
        ("diff --git a/s b/s\nindex 1..2 160000\n--- a/s\n+++ b/s\n@@ -1 +1 @@\n-Subproject commit 1\n"
         "+Subproject commit 2\n", "s", "submodule", "a submodule; review its own repository"),
        ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n"
         "\\ No newline at end of file\n", "l", "symlink", "a symbolic link; not followed"),
        (DIFF.replace("+TWO", "+// Code generated by x. DO NOT EDIT."), "a.py", "generated",
         "says so itself in line 2"),
    ],
)  # fmt: skip
def test_a_diff_of_which_all_is_left_out(text: str, path: str, reason: str, detail: str) -> None:
    assert left_out(text) == [(path, reason, detail), ("", "no_code", "all its files are left out")]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("diff --git a/a.py b/b.py\nsimilarity index 100%\nrename from a.py\nrename to b.py\n",
         "its files have no lines to review (renamed)"),
        ("diff --git a/a.py b/a.py\nold mode 100644\nnew mode 100755\n",
         "its files have no lines to review (modified)"),
        ("diff --git a/a.py b/a.py\ndeleted file mode 100644\n--- a/a.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n",
         "its files have no lines to review (deleted)"),
        ("diff --git a/a.py b/a.py\nnew file mode 100644\nindex 0..e\n", "its files have no lines to review (added)"),
    ],
)  # fmt: skip
def test_a_diff_without_lines_to_review(text: str, detail: str) -> None:
    assert left_out(text) == [("", "no_code", detail)]


def test_what_is_left_out_comes_before_the_rest() -> None:
    binary = "diff --git a/x b/x\nindex 1..2 100644\nBinary files a/x and b/x differ\n"
    moved = "diff --git a/m.py b/n.py\nsimilarity index 100%\nrename from m.py\nrename to n.py\n"
    gone = "diff --git a/g.py b/g.py\ndeleted file mode 100644\n--- a/g.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"
    first, document = show(binary + moved + gone + DIFF)
    assert first == LeftOut("u", "x", "binary", "the diff says so")
    assert isinstance(document, Document) and document.text is not None
    assert document.text.startswith(
        '@file "n.py" renamed from "m.py"\n@file "g.py" deleted\n@file "a.py" modified\n@@|def f():\n'
    )
