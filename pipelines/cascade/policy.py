"""Which documents are never sent to Claude: the job's rule over the input's own columns.

In: the rule as the job file spells it, and the columns that a reader carried along. Out: None, or why the document is
withheld. Closed by default: where the rule cannot be decided (a column is missing, null, empty or of another type),
the document is withheld.

    any      = all (("or" | "||") all)*
    all      = unary (("and" | "&&") unary)*
    unary    = ("not" | "!") unary | "(" any ")" | "true" | "false" | test
    test     = column [("==" | "!=" | "<" | "<=" | ">" | ">=") constant | ["not"] "in" "[" constant ("," constant)* "]"]
    constant = "text" | 'text' | number | "true" | "false" | "null"
    column   = name | `any name`

A language of our own, because the general ones are open by default: in CEL, `"true" == true` (any CSV) and
`null == true` are plainly false, and `x == 1 || y` never notices that `x` is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from pipelines.cascade.policy_terms import (
    COMPARISONS,
    NUMBER,
    Comparison,
    Constant,
    Fixed,
    Joined,
    Not,
    Term,
    Undecided,
    as_number,
    as_text,
    is_finite,
)

_MAX_CHARS = 1_000
_MAX_DEPTH = 32
_CONSTANTS: dict[str, Constant] = {"true": True, "false": False, "null": None}
_KEYWORDS = frozenset({"and", "or", "not", "in", *_CONSTANTS})
_TOKEN = re.compile(
    rf"(?P<number>{NUMBER.pattern})"
    r"|(?P<name>[^\W\d]\w*)"
    r'|(?P<text>"(?:[^"\\]|\\[\\"])*"' + r"|'(?:[^'\\]|\\[\\'])*')"
    r"|(?P<column>`(?:[^`\\]|\\[\\`])+`)"
    r"|(?P<sign>[=!<>]=|&&|\|\||[<>!()\[\],])"
)


@dataclass(frozen=True, slots=True)
class EscalationPolicy:
    """One rule: its ``expression``, and the ``columns`` that it needs of every document."""

    expression: str
    columns: frozenset[str]
    _root: Term

    @classmethod
    def parse(cls, expression: str) -> EscalationPolicy:
        """Read a rule.

        Raises:
            ValueError: it is no rule; the message names the position (1 is the first character).
        """
        if len(expression) > _MAX_CHARS:
            raise ValueError(f"position {_MAX_CHARS + 1}: longer than {_MAX_CHARS:,} characters; shorten it")
        line = re.sub(r"[\t\r\n]", " ", expression)
        parser = _Parser(line)
        root = parser.whole()
        return cls(line.strip(), frozenset(parser.columns), root)

    def held_by(self, attributes: Mapping[str, object] | None) -> str | None:
        """Why a document is withheld, never quoting its values; None if it may be sent.

        Args:
            attributes: the document's columns; None for a document that is a whole file.
        """
        rule = f"never_escalate: {self.expression}"
        if attributes is None and self.columns:
            return f"{rule} (a document that is a whole file has no columns)"
        try:
            return rule if self._root.holds(attributes or {}) else None
        except Undecided as reason:
            return f"{rule} ({reason})"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, text, column, word (keywords), sign or end
    text: str
    position: int

    def refuse(self, problem: str) -> NoReturn:
        raise ValueError(f"position {self.position}: {problem}")


class _Parser:
    """One method per line of the grammar; ``columns`` fills as they are met."""

    def __init__(self, line: str) -> None:
        self.columns: set[str] = set()
        self._tokens = _tokenize(line)
        self._next = 0
        self._depth = 0

    def whole(self) -> Term:
        term = self._any()
        if self._here.kind != "end":
            self._here.refuse("a comparison, and, or, or the end is expected")
        return term

    def _any(self) -> Term:
        parts = [self._all()]
        while self._takes("or", "||"):
            parts.append(self._all())
        return Joined(tuple(parts), is_any=True) if len(parts) > 1 else parts[0]

    def _all(self) -> Term:
        parts = [self._unary()]
        while self._takes("and", "&&"):
            parts.append(self._unary())
        return Joined(tuple(parts), is_any=False) if len(parts) > 1 else parts[0]

    def _unary(self) -> Term:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._here.refuse(f"nested more than {_MAX_DEPTH} deep")
        term: Term
        if self._takes("not", "!"):
            term = Not(self._unary())
        elif self._takes("("):
            term = self._any()
            self._expect(")")
        elif word := self._takes("true", "false"):
            term = Fixed(word == "true")
        else:
            term = self._test()
        self._depth -= 1
        return term

    def _test(self) -> Term:
        if self._here.kind != "column":
            self._here.refuse("a column is expected (by its name, or in backticks: `any name`)")
        column = self._take().text
        self.columns.add(column)
        sign = self._here
        if self._takes("in"):
            return Comparison(column, "in", self._list())
        if self._takes("not"):
            self._expect("in")
            return Not(Comparison(column, "in", self._list()))
        if not self._takes(*COMPARISONS):
            return Comparison(column, "==", (True,))
        constant = self._constant()
        if sign.text not in ("==", "!=") and _type(constant) is not float:
            sign.refuse(f"{sign.text} compares numbers only; use ==, != or in")
        return Comparison(column, sign.text, (constant,))

    def _list(self) -> tuple[Constant, ...]:
        start = self._here
        self._expect("[")
        constants = [self._constant()]
        while self._takes(","):
            constants.append(self._constant())
        self._expect("]")
        if None in constants or len({_type(constant) for constant in constants}) > 1:
            start.refuse("a list holds constants of one type, and not null")
        return tuple(constants)

    def _constant(self) -> Constant:
        if word := self._takes(*_CONSTANTS):
            return _CONSTANTS[word]
        if self._here.kind == "number":
            token = self._take()
            number = as_number(token.text)
            return number if is_finite(number) else token.refuse("too large a number")
        if self._here.kind != "text":
            self._here.refuse('a constant is expected ("text", a number, true, false or null)')
        token = self._take()
        return as_text(token.text) or token.refuse("empty text; an empty column is always withheld")

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _takes(self, *words: str) -> str | None:
        is_one = self._here.kind in ("word", "sign") and self._here.text in words
        return self._take().text if is_one else None

    def _expect(self, word: str) -> None:
        if not self._takes(word):
            self._here.refuse(f"{word} is expected")


def _type(constant: Constant) -> type:
    return float if type(constant) is int else type(constant)


def _tokenize(line: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(line):
        match = _TOKEN.match(line, at)
        if match:
            tokens.append(_token(match))
        elif line[at] != " ":
            raise ValueError(f"position {at + 1}: {_explain(line[at])}")
        at = match.end() if match else at + 1
    return [*tokens, _Token("end", "", len(line) + 1)]


def _token(match: re.Match[str]) -> _Token:
    kind, text, position = str(match.lastgroup), match.group(), match.start() + 1
    if not text.isprintable():
        raise ValueError(f"position {position}: an unprintable character is in here; take it out")
    if kind == "name":
        is_keyword = text.lower() in _KEYWORDS
        return _Token("word", text.lower(), position) if is_keyword else _Token("column", text, position)
    if kind in ("text", "column"):
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    return _Token(kind, text, position)


def _explain(char: str) -> str:
    if char in "\"'`":
        return f"{char} is never closed (a backslash stands only before {char} or another backslash)"
    if char == "=":
        return "= is not a comparison; use =="
    return f"{char!r} is not understood"
