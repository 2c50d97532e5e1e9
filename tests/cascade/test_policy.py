"""What is never sent to Claude: what the rule's language understands, and that every doubt means withheld."""

import math
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cascade.policy import EscalationPolicy
from pipelines.documents.records import NoValue


def holds(expression: str, **attributes: object) -> bool:
    """For columns that decide the rule: whether the document is withheld."""
    reason = EscalationPolicy.parse(expression).held_by(attributes)
    assert reason in (None, f"never_escalate: {expression}")
    return reason is not None


def doubt(expression: str, attributes: dict[str, object] | None) -> str:
    """What stands in brackets after the rule where it cannot be decided."""
    reason = EscalationPolicy.parse(expression).held_by(attributes)
    assert reason is not None
    start = f"never_escalate: {expression} ("
    assert reason.startswith(start)
    return reason.removeprefix(start).removesuffix(")")


def problem(expression: str) -> str:
    with pytest.raises(ValueError) as caught:
        EscalationPolicy.parse(expression)
    return str(caught.value)


# --- the language ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("pii", True),
        ("pii == true", True),
        ("pii != TRUE", False),
        ("not pii", False),
        ("! pii", False),
        ("not not pii", True),
        ("age >= 18", True),
        ("age > 18", False),
        ("age < 18.5", True),
        ("age <= 17", False),
        ("age == 1.8e1", True),
        ("age > -1", True),
        ("country == 'DE'", True),
        ('country == "FR"', False),
        ("country == 'de'", False),
        ("country != 'FR'", True),
        ("country in ['FR', \"DE\"]", True),
        ("country not in ['FR', 'DE']", False),
        ("age in [17, 18.0]", True),
        ("pii in [false]", False),
        ("country == null", False),
        ("country != null", True),
        ("age > 20 or pii", True),
        ("age > 20 || !pii", False),
        ("age > 17 and pii", True),
        ("age > 17 && !pii", False),
        ("pii or age > 20 and age > 20", True),  # and binds before or
        ("(pii or age > 20) and age > 20", False),
        ("not age > 20 and pii", True),  # not binds before and, and after comparisons
        ("pii\n  or\tage > 20", True),
    ],
)
def test_the_language(expression: str, expected: bool) -> None:
    policy = EscalationPolicy.parse(expression)
    reason = policy.held_by({"pii": True, "age": 18, "country": "DE"})
    assert (reason is not None) == expected
    assert reason in (None, f"never_escalate: {policy.expression}")


def test_a_rule_knows_the_columns_it_needs() -> None:
    policy = EscalationPolicy.parse(" pii or `is secret` == 'in \\'x\\'' and not (größe > 3 or class in [1]) ")
    assert policy.columns == {"pii", "is secret", "größe", "class"}
    assert policy.expression == "pii or `is secret` == 'in \\'x\\'' and not (größe > 3 or class in [1])"


def test_any_name_can_be_written_in_backticks() -> None:
    assert holds("`contains-pii`", **{"contains-pii": True})
    assert holds("`true` == true and `meta.in` == 'x'", **{"true": True, "meta.in": "x"})
    assert holds("`a\\`b\\\\` == 1", **{"a`b\\": 1})


def test_a_constant_rule_needs_no_column() -> None:
    policy = EscalationPolicy.parse("true")
    assert policy.columns == frozenset()
    assert policy.held_by(None) == policy.held_by({}) == "never_escalate: true"
    assert EscalationPolicy.parse("not true").held_by(None) is None


def test_a_rule_survives_the_way_to_another_process() -> None:
    policy = EscalationPolicy.parse("a in [1, 2] or not b")
    assert pickle.loads(pickle.dumps(policy)) == policy


# --- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "True", " TRUE ", "1", "yes", "Yes"])
def test_what_counts_as_true(value: object) -> None:
    assert holds("x == true", x=value)
    assert not holds("x == false", x=value)
    assert not holds("x != true", x=value)


@pytest.mark.parametrize("value", [False, 0, 0.0, "false", "FALSE", "0", "no\n", "No"])
def test_what_counts_as_false(value: object) -> None:
    assert not holds("x == true", x=value)
    assert holds("not x", x=value)


@pytest.mark.parametrize(
    "value", [2, -1, 0.5, math.nan, math.inf, "t", "on", "2", "1.0", "NULL", "truee", "y" * 10**6, 10**400]
)
def test_what_is_no_boolean_is_withheld_either_way(value: object) -> None:
    for expression in (
        "x == true",
        "x != true",
        "x == false",
        "not x",
        "x in [true, false]",
        "x or true",
        "x and false",
    ):
        assert doubt(expression, {"x": value}) == "column 'x' is not a boolean"


@pytest.mark.parametrize("value", ["18", " 18.0 ", "+18", "1.8e1", "018", 18, 18.0])
def test_what_counts_as_a_number(value: object) -> None:
    assert holds("x == 18", x=value)
    assert not holds("x < 18", x=value)


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        "",
        "x",
        "1,000",
        "1_000",
        "0x12",
        "\uff11\uff18",
        "nan",
        "inf",
        "1e999",
        math.nan,
        -math.inf,
        "1" * 65,
        "1 8",
    ],
)
def test_what_is_no_number_is_withheld_either_way(value: object) -> None:
    said = "is empty" if value == "" else "is not a number"
    for expression in ("x < 18", "x >= 18", "x == 18", "x != 18", "x not in [18]"):
        assert doubt(expression, {"x": value}) == f"column 'x' {said}"


def test_long_whole_numbers_are_exact() -> None:
    assert not holds("x == 9007199254740993", x=9007199254740992)
    assert holds("x == 9007199254740993", x="9007199254740993")
    assert holds("x > 5", x=10**400)


def test_text_compares_without_white_space_around_it_and_in_either_spelling_of_accents() -> None:
    assert holds("x == 'Santé '", x=" Sante\u0301\n")
    assert holds("x in ['Sante\u0301']", x="Santé")
    assert not holds("x == 'a  b'", x="a b")


@pytest.mark.parametrize("value", [1, 1.0, True])
def test_what_is_not_text_is_withheld_either_way(value: object) -> None:
    for expression in ("x == '1'", "x != '1'", "x not in ['1']"):
        assert doubt(expression, {"x": value}) == "column 'x' is not text"


# --- closed by default -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (None, "a document that is a whole file has no columns"),
        ({}, "column 'x' is missing"),
        ({"X": True}, "column 'x' is missing"),
        ({"x": None}, "column 'x' is null"),
        ({"x": ""}, "column 'x' is empty"),
        ({"x": " \n"}, "column 'x' is empty"),
        ({"x": NoValue("is a list")}, "column 'x' is a list"),
        ({"x": [True]}, "column 'x' is neither text nor number nor boolean"),
        ({"x": {}}, "column 'x' is neither text nor number nor boolean"),
    ],
)
@pytest.mark.parametrize(
    "rule", ["x", "not x", "x == false", "x > 1", "x != 'a'", "x == null", "x != null", "x or true", "false and x"]
)
def test_a_column_that_says_nothing_withholds(rule: str, attributes: dict[str, object] | None, said: str) -> None:
    assert doubt(rule, attributes) == said


def test_no_column_hides_another() -> None:
    assert doubt("a or b", {"a": True}) == "column 'b' is missing"
    assert doubt("a and not b", {"a": False, "b": None}) == "column 'b' is null"


def test_reasons_never_quote_the_document() -> None:
    for value in ("4111 1111", 41111111, 4111.1111, ["4111"]):
        for rule in ("x", "x == 1", "x == 'a'", "x != 'a'", "x < 3"):
            assert "4111" not in (EscalationPolicy.parse(rule).held_by({"x": value}) or "")


# --- mistakes in the rule --------------------------------------------------------------------------------------

A_COLUMN = "a column is expected (by its name, or in backticks: `any name`)"
A_CONSTANT = 'a constant is expected ("text", a number, true, false or null)'
THE_END = "a comparison, and, or, or the end is expected"
NEVER_CLOSED = "{0} is never closed (a backslash stands only before {0} or another backslash)"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", f"position 1: {A_COLUMN}"),
        ("a or ", f"position 6: {A_COLUMN}"),
        ("'pii' == true", f"position 1: {A_COLUMN}"),
        ("1 == 1", f"position 1: {A_COLUMN}"),
        ("a = 1", "position 3: = is not a comparison; use =="),
        ("a == b", f"position 6: {A_CONSTANT}"),
        ("a == [1]", f"position 6: {A_CONSTANT}"),
        ("a in []", f"position 7: {A_CONSTANT}"),
        ("a in 1", "position 6: [ is expected"),
        ("a in [1 2]", "position 9: ] is expected"),
        ("a in [1, 'a']", "position 6: a list holds constants of one type, and not null"),
        ("a in [null]", "position 6: a list holds constants of one type, and not null"),
        ("a not 1", "position 7: in is expected"),
        ("a == ' '", "position 6: empty text; an empty column is always withheld"),
        ("a < 'b'", "position 3: < compares numbers only; use ==, != or in"),
        ("a >= true", "position 3: >= compares numbers only; use ==, != or in"),
        ("a <= null", "position 3: <= compares numbers only; use ==, != or in"),
        ("a == 1e999", "position 6: too large a number"),
        ("(a", "position 3: ) is expected"),
        ("a b", f"position 3: {THE_END}"),
        ("a)", f"position 2: {THE_END}"),
        ("1 < a < 3", f"position 1: {A_COLUMN}"),
        ("a < 3 < 4", f"position 7: {THE_END}"),
        ("a == 5x", f"position 7: {THE_END}"),
        ("exit()", f"position 5: {THE_END}"),
        ("a[0]", f"position 2: {THE_END}"),
        ("a.__class__", "position 2: '.' is not understood"),
        ("9 ** 9", "position 3: '*' is not understood"),
        ("a == 'x", f"position 6: {NEVER_CLOSED.format(chr(39))}"),
        ('a == "\\n"', f"position 6: {NEVER_CLOSED.format(chr(34))}"),
        ("`` == 1", f"position 1: {NEVER_CLOSED.format('`')}"),
        ("a\u200b", "position 2: '\\u200b' is not understood"),
        ("a == 'x\u200b'", "position 6: an unprintable character is in here; take it out"),
        ("\n a = 1", "position 5: = is not a comparison; use =="),
        ("a" * 1001, "position 1001: longer than 1,000 characters; shorten it"),
        ("(" * 33 + "a" + ")" * 33, "position 33: nested more than 32 deep"),
        ("!" * 33 + "a", "position 33: nested more than 32 deep"),
    ],
)
def test_mistakes_are_placed_and_explained(expression: str, expected: str) -> None:
    assert problem(expression) == expected


def test_a_long_rule_is_fine() -> None:
    rule = " or ".join(f"c{number:03} == 1" for number in range(70))
    assert len(EscalationPolicy.parse(rule).columns) == 70
    assert holds("(" * 31 + "a" + ")" * 31, a=True)


# --- whatever comes --------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c d", "in")
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["true", "no", "1", "0.5", "DE", "NULL"]),
)
values = st.one_of(scalars, st.lists(scalars, max_size=2), st.dates(), st.just(NoValue("is a list")))
documents = st.dictionaries(st.sampled_from(NAMES), values)
columns = st.sampled_from([f"`{name}`" for name in NAMES])
numbers = st.one_of(st.integers(-2, 2), st.floats(-9, 9)).map(str)
texts = st.sampled_from(['"DE"', "'true'", "'1'"])
comparisons = st.one_of(
    columns,
    st.sampled_from(["true", "false"]),
    st.builds("{} {} {}".format, columns, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), numbers),
    st.builds("{} {} {}".format, columns, st.sampled_from(["==", "!="]), st.one_of(texts, st.just("null"))),
    st.builds("{} in [{}, {}]".format, columns, texts, texts),
    st.builds("{} not in [{}, {}]".format, columns, numbers, numbers),
)
rules = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or", "&&", "||"]), inner),
        st.builds("not {}".format, inner),
        st.builds("!({})".format, inner),
    ),
    max_leaves=6,
)


@given(rules, documents)
def test_a_column_that_is_not_there_or_says_nothing_never_opens(rule: str, document: dict[str, object]) -> None:
    policy = EscalationPolicy.parse(rule)
    reason = policy.held_by(document)
    if any(not isinstance(document.get(name), str | int | float) for name in policy.columns):
        assert reason is not None
    assert reason is None or reason.startswith(f"never_escalate: {rule}")
    if policy.columns:
        assert policy.held_by(None) is not None


@given(rules, documents)
def test_not_opens_only_what_is_decided(rule: str, document: dict[str, object]) -> None:
    """A rule and its opposite never both let a document go; that they both hold it says that neither is decided."""
    held = EscalationPolicy.parse(rule).held_by(document)
    held_by_opposite = EscalationPolicy.parse(f"not ({rule})").held_by(document)
    assert held is not None or held_by_opposite is not None
    if held is not None and held_by_opposite is not None:
        assert held != f"never_escalate: {rule}"


pieces = st.sampled_from(
    [
        *"ab10'\"`\\()[]!<>=&|,.+-*eE\n\x00",
        "==",
        "!=",
        "<=",
        "&&",
        "||",
        " and ",
        " or ",
        " not ",
        " in ",
        "true",
        "null",
    ]
)


@given(st.one_of(st.text(), st.lists(pieces, max_size=40).map("".join)), documents)
def test_any_text_is_a_rule_or_a_placed_mistake(expression: str, document: dict[str, object]) -> None:
    try:
        policy = EscalationPolicy.parse(expression)
    except ValueError as mistake:
        assert str(mistake).startswith("position ")
    else:
        policy.held_by(document)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("x == 1", "1" * 10**6),
        ("x == 1", "1" * 10**6 + "e" + "9" * 10**6),
        ("x == 1", 10**4000),
        ("x == 1", "9e999999999"),
        ("x", "t" * 10**7),
        ("x == 'é'", "\u0315\u0300" * 10**6),  # takes minutes to bring into one spelling
        ("x == '" + "é" * 990 + "'", "\u0315\u0300" * 10**6),
    ],
)
def test_hostile_values_take_no_time(expression: str, value: object) -> None:
    policy = EscalationPolicy.parse(expression)
    started = time.process_time()
    policy.held_by({"x": value})
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "expression",
    ["(" * 1000, "!" * 1000, "'" + "\\\\" * 499, "`\\`" * 333, "1" * 1000, "a or " * 200, "x == 1e" + "9" * 900],
)
def test_hostile_rules_take_no_time(expression: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=r"^position \d+: "):
        EscalationPolicy.parse(expression)
    assert time.process_time() - started < 0.5
