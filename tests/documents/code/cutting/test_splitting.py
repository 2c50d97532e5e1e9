"""Pieces of long code: they fit, lose no line, keep the real line numbers and cut between functions where they can."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.code.cutting.splitting import Piece, split
from pipelines.documents.code.records import NO_NEWLINE, Change, CodeFile, CodeLine, Hunk, Sign
from pipelines.documents.code.shown import LineMap, read_shown, shown_text
from pipelines.documents.readers.lines import Unreadable


def count_bytes(texts: list[str]) -> list[int]:
    return [len(text.encode()) for text in texts]


def whole(path: str, text: str) -> str:
    lines = tuple(CodeLine(number, " ", line) for number, line in enumerate(text.splitlines(), start=1))
    return shown_text(Change((), (CodeFile(path, "whole", (Hunk("", lines),)),)))


def pieces_of(text: str, limit: int) -> list[Piece]:
    pieces = split("d", text, count_bytes, limit)
    assert all(len(piece.text.encode()) <= limit for piece in pieces)
    assert [(piece.document_id, piece.index) for piece in pieces] == [("d", index) for index in range(len(pieces))]
    return pieces


def first_lines(pieces: list[Piece]) -> list[str]:
    """Of each piece, its first hunk's heading and first line of code."""
    hunks = [read_shown(piece.text).files[0].hunks[0] for piece in pieces]
    return [f"{hunk.heading} / {hunk.lines[0].text.strip()}" for hunk in hunks]


def body(name: str, indent: str = "    ") -> str:
    return "".join(f"{indent}{name}{number} = {number}\n" for number in range(12))


def test_what_fits_stays_as_it_is() -> None:
    text = whole("a.py", "x = 1\n")
    assert pieces_of(text, 1_000) == [Piece("d", 0, text)]


def test_python_is_cut_before_functions_and_says_what_class_they_stand_in() -> None:
    code = (
        f"import os\n\n\ndef one():\n{body('a')}\n\n# about two\n@cached\ndef two():\n{body('b')}\n\n"
        f"class Three(Base):\n    x = 1\n\n    def four(self):\n{body('c', ' ' * 8)}\n"
        f"    def five(self):\n{body('d', ' ' * 8)}"
    )
    assert first_lines(pieces_of(whole("a.py", code), 420)) == [
        " / import os",
        " / # about two",
        " / class Three(Base):",
        "class Three(Base): / def five(self):",
    ]


def test_a_long_function_is_cut_anywhere_with_the_lines_before_it() -> None:
    code = f"class A:\n    @wrapped\n    def f(self):\n{body('a', ' ' * 8)}{body('b', ' ' * 8)}"
    pieces = pieces_of(whole("a.py", code), 400)
    assert len(pieces) > 1
    assert all(heading.startswith("class A: ... def f(self): / ") for heading in first_lines(pieces)[1:])
    shown = [[line.number for line in read_shown(piece.text).files[0].hunks[0].lines] for piece in pieces]
    assert all(later[:4] == earlier[-4:] for earlier, later in pairwise(shown))


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        ("a.js",
         "const one = () => {{\n{a}}};\n/** two */\nfunction two() {{\n{b}}}\nclass C {{\n  three() {{\n{c}  }}\n}}\n",
         [" / const one = () => {", " / /** two */", " / class C {"]),
        ("a.go",
         "package a\n\nfunc One() {{\n{a}}}\n\n// Two is\nfunc (t *T) Two() {{\n{b}}}\nfunc Three() {{\n{c}}}\n",
         [" / package a", " / // Two is", " / func Three() {"]),
        ("a.sql", "CREATE VIEW a AS\n{a};\nCREATE VIEW b AS\n{b};\n\nCREATE VIEW c AS\n{c};\n",
         [" / CREATE VIEW a AS", " / CREATE VIEW b AS", " / CREATE VIEW c AS"]),
        ("a.rb", "def a\n{a}end\n\ndef b\n{b}end\n\ndef c\n{c}end\n", [" / def a", " / def b", " / def c"]),
    ],
)  # fmt: skip
def test_other_languages_are_cut_between_functions_too(path: str, code: str, expected: list[str]) -> None:
    text = whole(path, code.format(a=body("a"), b=body("b"), c=body("c")))
    assert first_lines(pieces_of(text, 330)) == expected


def diff(*files: CodeFile) -> str:
    return shown_text(Change(("Fix it",), files))


def hunk(start: int, heading: str = "f()") -> Hunk:
    lines = [CodeLine(start + number, " ", f"line {start + number}") for number in range(6)]
    return Hunk(heading, tuple(lines))


def test_a_diff_is_cut_between_files_and_hunks_and_repeats_message_and_head() -> None:
    renamed = CodeFile("b.py", "renamed", (hunk(1), hunk(100), hunk(200)), "old.py", ("mode 100644 -> 100755",))
    text = diff(CodeFile("a.py", "modified", (hunk(5),)), renamed, CodeFile("c.py", "modified", (hunk(7),)))
    pieces = pieces_of(text, 300)
    assert [[(file.path, len(file.hunks)) for file in read_shown(piece.text).files] for piece in pieces] == [
        [("a.py", 1), ("b.py", 1)], [("b.py", 2)], [("c.py", 1)]
    ]  # fmt: skip
    assert pieces[1].text.startswith(
        '@message\n#|Fix it\n@file "b.py" renamed from "old.py"\n@note mode 100644 -> 100755\n@@|f()\n100 |line 100\n'
    )
    assert pieces[1].lines.paths == ("b.py",)
    assert pieces[1].lines.contains("b.py", 205) and not pieces[1].lines.contains("b.py", 1)


def test_a_hunk_that_starts_within_a_class_keeps_its_heading_up_to_the_next_function() -> None:
    code = f"{body('a', ' ' * 8)}\n    def two(self):\n{body('b', ' ' * 8)}\n\ndef three():\n{body('c')}"
    lines = [CodeLine(number, " ", line) for number, line in enumerate(code.splitlines(), start=31)]
    pieces = pieces_of(diff(CodeFile("a.py", "modified", (Hunk("class A:", tuple(lines)),))), 400)
    assert first_lines(pieces) == ["class A: / a0 = 0", "class A: / def two(self):", " / def three():"]


def test_removed_lines_stay_with_what_replaces_them() -> None:
    lines = [
        line
        for number in range(1, 40)
        for line in (CodeLine(None, "-", f"old {number}"), CodeLine(number, "+", f"new {number}"))
    ]
    text = diff(CodeFile("a.txt", "modified", (Hunk("", tuple(lines)),)))
    pieces = pieces_of(text, 300)
    assert len(pieces) > 2
    assert all(read_shown(piece.text).files[-1].hunks[-1].lines[-1].sign == "+" for piece in pieces)


def test_pieces_without_a_line_to_name_are_dropped() -> None:
    gone = [CodeFile(f"gone{number}.py", "deleted", ()) for number in range(50)]
    pieces = pieces_of(diff(*gone, CodeFile("a.py", "modified", (hunk(1),))), 300)
    assert len(pieces) == 1 and "a.py" in pieces[0].lines.paths


def test_a_long_line_is_shown_without_what_would_keep_it_from_fitting() -> None:
    code = f"class A:\n    def f(self):\n        x = 1\n{' ' * 8}y = '{'z' * 150}'\n{' ' * 8}w = 2\n"
    pieces = pieces_of(whole("a.py", code), 210)
    (long,) = (piece for piece in pieces if piece.lines.contains("a.py", 4))
    assert long.text.startswith('@file "a.py" whole\n@@\n4 |')


@pytest.mark.parametrize(
    ("text", "limit", "reason"),
    [
        (whole("a.py", "x\n" + "y" * 300 + "\n"), 200,
         "line 2 of 'a.py' does not fit: it takes 304 of the 200 tokens of a piece, and the message takes 0"),
        (diff(CodeFile("a.py", "modified", (Hunk("", (CodeLine(None, "-", "y" * 300), CodeLine(1, "+", "z"))),))), 200,
         "a removed line of 'a.py' does not fit: it takes 303 of the 200 tokens of a piece, and the message takes 18"),
        (diff(CodeFile("a" * 300, "modified", (hunk(1),))), 200,
         f"the head of '{'a' * 300}' does not fit: it takes 318 of the 200 tokens of a piece, and the message takes 18",
        ),
    ],
)  # fmt: skip
def test_a_line_that_fits_nowhere_is_refused(text: str, limit: int, reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        split("d", text, count_bytes, limit)
    assert str(refused.value) == f"{reason}; choose a model with a longer context or leave the file out"


line_texts = st.sampled_from(
    ["", "x = 1", "    return x", "def f():", "class A:", "    def m(self):", "}", "@dec", "ä" * 9]
)


SIGNS: tuple[Sign, ...] = (" ", "+", "-")


@st.composite
def changes(draw: st.DrawFn) -> Change:
    files = []
    for index in range(draw(st.integers(1, 4))):
        hunks, number = [], 1
        for _ in range(draw(st.integers(1, 3))):
            lines = []
            for sign in draw(st.lists(st.sampled_from(SIGNS), min_size=1, max_size=40)):
                lines.append(CodeLine(None if sign == "-" else number, sign, draw(line_texts)))
                number += sign != "-"
            hunks.append(Hunk("", tuple(lines)))
            number += 10
        if draw(st.booleans()):
            hunks[-1] = Hunk("", (*hunks[-1].lines, NO_NEWLINE))
        path = f"f{index}{draw(st.sampled_from(['.py', '.js', '.go', '.txt']))}"
        files.append(CodeFile(path, "modified", tuple(hunks)))
    return Change(("why",), tuple(files))


@given(changes(), st.integers(120, 900))
def test_pieces_show_every_line_of_the_whole_and_no_other(change: Change, limit: int) -> None:
    text = shown_text(change)
    pieces = pieces_of(text, limit)
    whole_map = LineMap.of(text)
    for path in whole_map.paths:
        for number in range(1, 200):
            shown = {piece.lines.text_at(path, number) for piece in pieces} - {None}
            assert shown == ({whole_map.text_at(path, number)} - {None})
    assert pieces_of(text, limit) == pieces


def test_50_000_lines_of_noise_are_cut_in_pieces_that_lose_nothing() -> None:
    chance = random.Random(7)
    words = ["def f(", "class A:", "    (((", "'''", '"', "\\", "{", "}", "lambda: [", "if x:", "", "return", "async"]
    text = whole("a.py", "\n".join(" ".join(chance.choices(words, k=3)) for _ in range(50_000)) + "\n")
    pieces = pieces_of(text, 20_000)
    assert 40 < len(pieces) < 120
    shown = [line for piece in pieces for line in read_shown(piece.text).files[0].hunks[0].lines]
    assert {line.number for line in shown} == set(range(1, 50_001))
