"""What names a finding when its line has moved."""

from pipelines.tasks.code_review.findings import Finding
from pipelines.tasks.code_review.fingerprints import end_column, fingerprints
from tests.tasks.code_review.samples import finding, shown

CODE = "def find(name):\n    db.run(query + name)\n    return x\n}\n"


def fingerprint_of(line: int, code: str = CODE, **values: object) -> str:
    about: Finding = finding(line=line, end_line=line, **values)
    return fingerprints([about], shown(src__app_py=code))[0]


def test_a_fingerprint_is_stable() -> None:
    # Pinned: another value makes every old finding look new to every user.
    assert fingerprint_of(2) == "0f94a8287eff75c5885289a52d59f578:1"


def test_lines_inserted_above_leave_it_alone() -> None:
    assert fingerprint_of(5, "# one\n# two\n\n" + CODE) == fingerprint_of(2)


def test_another_start_of_the_numbering_leaves_it_alone() -> None:
    about = finding(line=102, end_line=102)
    assert fingerprints([about], shown(start=101, src__app_py=CODE)) == (fingerprint_of(2),)


def test_indentation_and_line_ends_leave_it_alone() -> None:
    other = "def find(name):\u240d\n\tdb.run( query + name )\u240d\n"
    assert fingerprint_of(2, other) == fingerprint_of(2)


def test_message_severity_and_length_leave_it_alone() -> None:
    about = finding(line=2, end_line=3, message="Other words.", severity="low", suggestion="x")
    assert fingerprints([about], shown(src__app_py=CODE)) == (fingerprint_of(2),)


def test_another_line_category_or_path_is_another_finding() -> None:
    others = {
        fingerprint_of(1),
        fingerprint_of(2, category="off-by-one"),
        fingerprint_of(2, CODE.replace("name", "title")),
        fingerprints([finding(path="src/b.py")], shown(src__b_py=CODE))[0],
    }
    assert len(others | {fingerprint_of(2)}) == 5


def test_a_line_that_says_little_is_taken_with_what_follows() -> None:
    first = fingerprint_of(1, "}\nshutil.rmtree(folder)\n")
    assert first != fingerprint_of(1, "}\nconnection.close()\n")
    assert fingerprint_of(1, "shutil.rmtree(folder)\nx = 1") == fingerprint_of(1, "shutil.rmtree(folder)\ny = 1")


def test_the_same_line_twice_is_told_apart_by_counting_from_the_top() -> None:
    code = "cursor.execute(text)\n" * 3
    third, first = finding(line=3, end_line=3), finding(line=1, end_line=1)
    names = fingerprints([third, first], shown(src__app_py=code))
    assert [name.rpartition(":")[2] for name in names] == ["2", "1"]
    assert len({name.rpartition(":")[0] for name in names}) == 1


def test_no_findings_have_no_fingerprints() -> None:
    assert fingerprints([], shown()) == ()


def test_the_end_column_is_after_the_last_character() -> None:
    lines = shown(src__app_py="x\nnaïve = 1\u240d")
    assert end_column(finding(line=1, end_line=2), lines) == 10
    assert end_column(finding(line=9, end_line=9), lines) is None
