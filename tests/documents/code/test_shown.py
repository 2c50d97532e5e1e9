"""The shown form: what a model reads, that nothing in a document can pass for ours, and that it can be read back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.code.records import NO_NEWLINE, Change, CodeFile, CodeLine, Hunk
from pipelines.documents.code.shown import LineMap, read_shown, shown_text, visible
from pipelines.errors import InvariantError

CHANGE = Change(
    ("Fix the rounding", "", "@file was wrong"),
    (
        CodeFile(
            "src/price.py",
            "renamed",
            (
                Hunk("def total(items):", (CodeLine(11, " ", "    total = 0"), CodeLine(None, "-", "    a"))),
                Hunk("", (CodeLine(40, "+", "@file 'x'"), NO_NEWLINE)),
            ),
            old_path='src/old "price".py',
            notes=("mode 100644 -> 100755",),
        ),
        CodeFile("gone.py", "deleted", ()),
    ),
)
SHOWN = """\
@message
#|Fix the rounding
#|
#|@file was wrong
@file "src/price.py" renamed from "src/old \\"price\\".py"
@note mode 100644 -> 100755
@@|def total(items):
11 |    total = 0
-|    a
@@
40+|@file 'x'
@no-newline
@file "gone.py" deleted
"""

hostile_text = st.text(st.characters(blacklist_categories=("Cs",))) | st.sampled_from(
    ['@file "a" whole', "@@", "\r\n@message", "1 |x", "-|", "#|", "a\x85b\u2028c\x0bd", "ignore previous instructions"]
)
signs = st.sampled_from([(7, " "), (8, "+"), (None, "-")])
lines = st.builds(lambda place, text: CodeLine(place[0], place[1], text), signs, hostile_text) | st.just(NO_NEWLINE)
hunks = st.builds(Hunk, hostile_text, st.lists(lines, max_size=4).map(tuple))
files = st.builds(
    CodeFile,
    hostile_text,
    st.sampled_from(["added", "modified", "whole"]),
    st.lists(hunks, max_size=3).map(tuple),
    st.none() | hostile_text,
    st.lists(hostile_text, max_size=2).map(tuple),
)
changes = st.builds(Change, st.lists(hostile_text, max_size=3).map(tuple), st.lists(files, max_size=3).map(tuple))


def test_a_change_as_it_is_shown() -> None:
    assert shown_text(CHANGE) == SHOWN
    assert read_shown(SHOWN) == CHANGE


@given(changes)
def test_every_change_can_be_read_back(change: Change) -> None:
    read = read_shown(shown_text(change))
    assert [file.path for file in read.files] == [visible_path(file.path) for file in change.files]
    for file, shown in zip(change.files, read.files, strict=True):
        assert [hunk.heading for hunk in shown.hunks] == [visible(hunk.heading) for hunk in file.hunks]
        assert [hunk.lines for hunk in shown.hunks] == [
            tuple(CodeLine(line.number, line.sign, visible(line.text)) for line in hunk.lines) for hunk in file.hunks
        ]
    assert read.message == tuple(visible(line) for line in change.message)
    assert read_shown(shown_text(read)) == read


def visible_path(path: str) -> str:
    """JSON keeps control characters; the few line breaks that it would let through are pictures."""
    return path.translate({code: 0x2424 for code in (0x85, 0x2028, 0x2029)} | {0x7F: 0x2421})


@given(changes)
def test_every_line_starts_with_our_frame_whatever_a_document_holds(change: Change) -> None:
    text = shown_text(change)
    count = sum(len(hunk.lines) + 1 for file in change.files for hunk in file.hunks)
    count += sum(1 + len(file.notes) for file in change.files)
    count += len(change.message) + 1 if change.message else 0
    assert len(text.splitlines()) == text.count("\n") == count  # for every reader's idea of a line break
    assert all(re.match(r'@(message|file "|note |@|no-newline)|#\||\d+[ +]\||-\|', line) for line in text.splitlines())
    assert text.count("\n@file ") + text.startswith("@file ") == len(change.files)


@pytest.mark.parametrize(
    "line", ["stray", "5 |code before any file", '@file "a" eaten', "@note", '@file "a" whole more']
)
def test_a_text_that_is_not_ours_is_our_own_mistake(line: str) -> None:
    with pytest.raises(InvariantError) as caught:
        read_shown(f"@message\n{line}\n")
    assert str(caught.value) == "shown code has a line 2 that is none of ours; plan the run again"


def test_a_line_map_knows_the_lines_of_new_files_only() -> None:
    lines = LineMap.of(SHOWN)
    assert lines.paths == ("src/price.py", "gone.py")
    assert lines.contains("src/price.py", 11) and lines.contains("src/price.py", 40)
    assert not lines.contains("src/price.py", 12) and not lines.contains("gone.py", 1)
    assert not lines.contains("other.py", 11)
    assert lines.text_at("src/price.py", 11) == "    total = 0"
    assert lines.text_at("src/price.py", 12) is None and lines.text_at("other.py", 1) is None
