"""What a policy rule is made of, and whether it holds for one document's columns.

The constant alone decides what type a column must have, and text is converted strictly, so that CSV (all text) and
JSONL (typed) answer alike. Whatever cannot be decided raises `Undecided`; nothing short-circuits, so one good column
never hides another that says nothing. Knows nothing of how rules are spelled: see `policy`.
"""

from __future__ import annotations

import math
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from pipelines.documents.records import NoValue

Constant = str | int | float | bool | None

NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_NUMBER_CHARS = 64
_BOOLEANS: dict[str | float, bool] = {"true": True, "yes": True, "1": True, 1: True}
_BOOLEANS |= {"false": False, "no": False, "0": False, 0: False}
# Canonical composition makes text four times shorter at most; on hostile text it takes quadratic time.
_COMPOSED_SHARE = 4

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, constants: value in constants,
}


class Undecided(Exception):
    """The rule cannot be decided for this document. Names the column and what is wrong, never the value."""


class Term(Protocol):
    """A part of a rule that holds or does not."""

    def holds(self, attributes: Mapping[str, object]) -> bool:
        """Whether it holds; `Undecided` if the columns do not say."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A term that is always ``true`` or always ``false``."""

    value: bool

    def holds(self, attributes: Mapping[str, object]) -> bool:
        """What it is."""
        return self.value


@dataclass(frozen=True, slots=True)
class Not:
    """A term that holds where its part does not."""

    part: Term

    def holds(self, attributes: Mapping[str, object]) -> bool:
        """Whether the part does not hold."""
        return not self.part.holds(attributes)


@dataclass(frozen=True, slots=True)
class Joined:
    """``or`` of its parts, or ``and``."""

    parts: tuple[Term, ...]
    is_any: bool

    def holds(self, attributes: Mapping[str, object]) -> bool:
        """Whether any, or all, of the parts hold; each of them must be decidable."""
        held = [part.holds(attributes) for part in self.parts]  # a list: no part is skipped
        return any(held) if self.is_any else all(held)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A column against a constant, or for ``in`` against several of one type."""

    column: str
    sign: str
    constants: tuple[Constant, ...]

    def holds(self, attributes: Mapping[str, object]) -> bool:
        """Whether the comparison holds for the column's value, read as the type of the constant."""
        value, constant = self._present(attributes), self.constants[0]
        if isinstance(constant, bool):
            value = self._boolean(value)
        elif isinstance(constant, int | float):
            value = self._number(value)
        elif isinstance(constant, str):
            value = self._text(value)
        return COMPARISONS[self.sign](value, self.constants if self.sign == "in" else constant)

    def _present(self, attributes: Mapping[str, object]) -> str | float:
        value = attributes.get(self.column, NoValue("is missing"))
        if isinstance(value, NoValue):
            self._undecided(value.problem)
        if value is None:
            self._undecided("is null")
        if isinstance(value, str):
            return value.strip() or self._undecided("is empty")  # CSV has no other way to say nothing
        if not isinstance(value, int | float):
            self._undecided("is neither text nor number nor boolean")
        return value

    def _boolean(self, value: str | float) -> bool:
        found = _BOOLEANS.get(value.lower() if isinstance(value, str) else value)
        return found if found is not None else self._undecided("is not a boolean")

    def _number(self, value: str | float) -> float:
        if isinstance(value, str) and len(value) <= _MAX_NUMBER_CHARS and NUMBER.fullmatch(value):
            value = as_number(value)
        if isinstance(value, bool | str) or not is_finite(value):
            self._undecided("is not a number")
        return value

    def _text(self, value: str | float) -> str:
        if not isinstance(value, str):
            self._undecided("is not text")
        longest = max(len(str(constant)) for constant in self.constants)
        return as_text(value) if len(value) <= longest * _COMPOSED_SHARE else value

    def _undecided(self, problem: str) -> NoReturn:
        raise Undecided(f"column '{self.column}' {problem}")


def as_number(text: str) -> int | float:
    """Whole numbers stay exact: as floats, two long ids could pass for one."""
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def is_finite(value: float) -> bool:
    """Neither infinite nor NaN; a whole number may be too long for a float to tell."""
    return isinstance(value, int) or math.isfinite(value)


def as_text(text: str) -> str:
    """Text as it compares: without white space around it, and with one spelling for each accented letter."""
    return unicodedata.normalize("NFC", text.strip())
