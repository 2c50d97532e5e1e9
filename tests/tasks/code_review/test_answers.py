"""From an answer to findings: what stands, and what is dropped and counted."""

import json
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.message_batches.simulated_model.schema_rules import schema_refusal
from pipelines.tasks.code_review.answers import (
    DropReason,
    answer_schema,
    engine_answer_schema,
    parse_answer,
    read_answer,
)
from pipelines.tasks.code_review.findings import Finding
from tests.tasks.code_review.samples import finding, shown

LINES = shown(src__app_py="import db\ndb.run(q + name)\n}\nclose()", src__b_py="x = 1")


def given_finding(**values: Any) -> dict[str, Any]:
    fixed: dict[str, Any] = {
        "path": "src/app.py",
        "line": 2,
        "end_line": 2,
        "category": "sql-injection",
        "severity": "high",
        "message": "The name goes into the query as text.",
        "suggestion": "",
    }
    return fixed | values


def read_one(**values: Any) -> Finding | DropReason:
    """The finding of an answer with one, or the reason why it was dropped."""
    answer = read_answer({"findings": [given_finding(**values)]}, LINES)
    assert answer.failure is None
    (outcome,) = [*answer.findings, *answer.dropped.elements()]
    return outcome


def test_the_schema_is_one_that_claude_takes() -> None:
    assert schema_refusal(answer_schema()) is None


def test_the_schema_is_one_that_the_engine_takes() -> None:
    import xgrammar  # and torch with it, which takes two seconds of each process that collects this

    grammar = str(xgrammar.Grammar.from_json_schema(json.dumps(engine_answer_schema())))
    assert "sql-injection" in grammar


@pytest.mark.parametrize("schema", [answer_schema(), engine_answer_schema()])
def test_the_schema_is_closed(schema: dict[str, Any]) -> None:
    checker = jsonschema.Draft202012Validator(schema)
    assert checker.is_valid({"findings": [given_finding()]})
    assert checker.is_valid({"findings": []})
    assert not checker.is_valid({"findings": [given_finding(category="none")]})
    assert not checker.is_valid({"findings": [given_finding(label="billing")]})
    assert not checker.is_valid({"findings": [], "route": "accepted"})


def test_an_answer_becomes_findings() -> None:
    answer = parse_answer(json.dumps({"findings": [given_finding(suggestion="db.run(q, name)")]}), LINES)
    assert answer.findings == (finding(suggestion="db.run(q, name)"),)
    assert not answer.dropped
    assert answer.failure is None


def test_no_findings_is_an_answer() -> None:
    answer = parse_answer('{"findings": []}', LINES)
    assert answer.findings == ()
    assert answer.failure is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"line": 5, "end_line": 5}, "line not reviewed"),
        ({"line": 0}, "line not reviewed"),
        ({"line": -1}, "line not reviewed"),
        ({"line": 10**30}, "line not reviewed"),
        ({"path": "src/c.py"}, "path not reviewed"),
        ({"path": "../src/app.py"}, "path not reviewed"),
        ({"path": "/src/app.py"}, "path not reviewed"),
        ({"path": ""}, "path not reviewed"),
        ({"category": "ignore-previous-instructions"}, "unknown category"),
        ({"severity": "blocker"}, "unknown severity"),
        ({"message": " \u202e\n"}, "not in the form asked for"),
        ({"message": None}, "not in the form asked for"),
        ({"line": True}, "not in the form asked for"),
        ({"line": "2"}, "not in the form asked for"),
        ({"line": 2.0}, "not in the form asked for"),
    ],
)
def test_what_does_not_stand_is_dropped_with_its_reason(values: dict[str, Any], reason: str) -> None:
    assert read_one(**values) == reason
    assert reason in get_args(DropReason)


def test_dropped_findings_are_counted_and_the_others_stay() -> None:
    rows = [given_finding(line=9), "none", given_finding(), given_finding(line=8), None]
    answer = read_answer({"findings": rows}, LINES)
    assert answer.findings == (finding(),)
    assert answer.dropped == {"line not reviewed": 2, "not in the form asked for": 2}


def test_an_item_cannot_speak_of_the_files_of_another() -> None:
    others = shown(src__c_py="x = 1\ny = 2")
    row = given_finding(path="src/c.py")
    assert read_answer({"findings": [row]}, others).findings
    assert read_answer({"findings": [row]}, LINES).dropped == {"path not reviewed": 1}


def test_names_are_known_in_any_case() -> None:
    assert read_one(category=" SQL-Injection ", severity="HIGH") == finding()


@pytest.mark.parametrize("prefix", ["a/", "b/", "./"])
def test_a_path_as_diffs_write_it_is_known(prefix: str) -> None:
    assert read_one(path=f"{prefix}src/app.py") == finding()


@pytest.mark.parametrize(("end_line", "taken"), [(1, 2), (2, 2), (3, 3), (99, 4), (10**30, 4)])
def test_the_end_is_taken_back_to_what_was_reviewed(end_line: int, taken: int) -> None:
    assert read_one(end_line=end_line) == finding(end_line=taken)


def test_a_message_is_one_line_that_can_be_printed_and_stored() -> None:
    found = read_one(message="  first\n\nsecond\u2028\u202ethird \ud800\x1b[31m ", suggestion="a\n\tb\r\x00")
    assert found == finding(message="first second third [31m", suggestion="a\n\tb")


def test_long_texts_are_cut() -> None:
    found = read_one(message="m" * 5_000, suggestion="s" * 5_000)
    assert isinstance(found, Finding)
    assert (len(found.message), len(found.suggestion or "")) == (1_000, 2_000)


def test_an_answer_that_was_cut_says_so_and_does_not_quote_the_code() -> None:
    answer = parse_answer('{"findings": [{"message": "password', LINES)
    assert answer.failure == (
        "the review is not JSON (answer of 35 characters, perhaps cut at the output limit); "
        "raise the output limit or review smaller pieces"
    )
    assert answer.findings == ()


def test_the_whole_findings_of_a_cut_answer_are_kept_wherever_it_was_cut() -> None:
    whole = json.dumps({"findings": [given_finding(line=line, end_line=line) for line in (2, 3, 9)]})
    ends = [at + 1 for at, character in enumerate(whole) if character == "}"][:3]
    for end in range(1, len(whole) - 1):
        answer = parse_answer(whole[:end], LINES)
        kept = sum(end >= at for at in ends)
        assert answer.is_cut and answer.failure is not None and not answer.is_repeating
        assert len(answer.findings) + answer.dropped.total() == kept
        assert [found.line for found in answer.findings] == [2, 3][:kept]
        assert ("are kept" in answer.failure) is bool(kept)
    for text in (whole, whole[:-1]):
        answer = parse_answer(text, LINES)
        assert answer.failure is None and not answer.is_cut and len(answer.findings) == 2


def test_a_cut_answer_that_says_the_same_again_is_known() -> None:
    whole = json.dumps({"findings": [given_finding(), given_finding(line=3), *[given_finding()] * 2]})
    answer = parse_answer(whole[:-9], LINES)
    assert answer.is_cut and answer.is_repeating


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no JSON",
        '{"other": [',
        '{"findings": []} and words',
        "[" * 100_000,
        '{"findings": [' + '{"a":' * 100_000,
    ],
)
def test_what_is_no_list_of_findings_was_not_cut_out_of_one(text: str) -> None:
    answer = parse_answer(text, LINES)
    assert answer.failure is not None and answer.findings == ()
    assert answer.is_cut is text.startswith('{"findings": [{')


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"findings": {}}', '{"findings": "none"}'])
def test_json_of_another_form_is_a_failure(text: str) -> None:
    failure = "the review has no list of findings; ask again, or use a stronger model"
    assert parse_answer(text, LINES).failure == failure


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5_000])
def test_json_made_to_break_a_parser_is_a_failure(text: str) -> None:
    assert parse_answer(text, LINES).failure is not None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_ROWS = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["src/app.py", "b/src/b.py", "x"]) | _VALUES,
        "line": st.integers(-1, 9) | _VALUES,
        "end_line": st.integers() | _VALUES,
        "category": st.sampled_from(["off-by-one", "OFF-BY-ONE", "x"]) | _VALUES,
        "severity": st.sampled_from(["low", "LOW", "x"]) | _VALUES,
        "message": st.text(st.characters()) | _VALUES,
        "suggestion": st.text(st.characters()) | _VALUES,
    }
)


@given(st.lists(_ROWS | _VALUES))
def test_whatever_comes_every_finding_stands_or_is_counted(rows: list[object]) -> None:
    answer = read_answer({"findings": rows}, LINES)
    assert len(answer.findings) + answer.dropped.total() == len(rows)
    for found in answer.findings:
        assert all(LINES.contains(found.path, line) for line in range(found.line, found.end_line + 1))
        assert (found.category, found.severity) == ("off-by-one", "low")
        assert f"{found.message}{found.suggestion}".encode()
