"""Where code may be cut: functions and classes by tree-sitter, in other languages by indentation and empty lines.

In: the path and the lines of a file or hunk, which may start or end in the middle of anything. Out: how bad a cut
before each line is, and what each line stands in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import tree_sitter
import tree_sitter_go
import tree_sitter_javascript
import tree_sitter_python

from pipelines.documents.code.reading.changes import trim_heading

_GRAMMARS = {
    "python": tree_sitter_python.language,
    "javascript": tree_sitter_javascript.language,
    "go": tree_sitter_go.language,
}
# The parser takes quadratic time on text that is no code: some 2 seconds for this much of it. Few files are longer.
_MAX_PARSED_CHARACTERS = 150_000
_EMPTY_LINE, _ANY_LINE = 50, 100  # worse than any depth of nesting
_COMMENTS = ("#", "//", "/*", "*", "--", "@")  # what stands above a function belongs to it
_ENDS = (";", "}")  # of a statement or block in most languages without a grammar here, SQL among them


class Scope(NamedTuple):
    """A function or class, by its first and last row (0-based, both inside)."""

    first: int
    last: int


class _Language(NamedTuple):
    grammar: tree_sitter.Language
    scopes: frozenset[str]


class Outline:
    """What the lines of one file or hunk are made of."""

    def __init__(self, path: str, rows: Sequence[str]) -> None:
        self._rows = rows
        self._scopes = _scopes(path, rows)
        self._costs = self._cut_costs()

    def cut_cost(self, row: int) -> int:
        """How bad a cut before this row is: the depth of the function that starts there, more for any other line."""
        return self._costs[row]

    def heading(self, row: int) -> str:
        """The heads of the classes and functions that the row stands in, outermost first."""
        heads = [self._head(scope) for scope in self._scopes if scope.first < row <= scope.last]
        return trim_heading(" ... ".join(heads))

    def is_inside(self, row: int) -> bool:
        """Whether a cut before this row tears something apart."""
        return self._costs[row] == _ANY_LINE

    def _head(self, scope: Scope) -> str:
        rows = (row.strip() for row in self._rows[scope.first : scope.last + 1])
        return next((row for row in rows if not row.startswith("@")), "")

    def _cut_costs(self) -> list[int]:
        costs = [_ANY_LINE] * (len(self._rows) + 1)
        for row, (above, here) in enumerate(pairwise(self._rows), start=1):
            if not self._scopes and here.strip() and not here[0].isspace():
                costs[row] = 0 if not above.strip() else 1 if above.rstrip().endswith(_ENDS) else _ANY_LINE
            elif not above.strip():
                costs[row] = _EMPTY_LINE
        open_scopes: list[Scope] = []
        for scope in self._scopes:
            while open_scopes and open_scopes[-1].last < scope.first:
                open_scopes.pop()
            for row in (self._with_comments(scope.first), scope.last + 1):
                costs[row] = min(costs[row], len(open_scopes))
            open_scopes.append(scope)
        return costs

    def _with_comments(self, row: int) -> int:
        while row > 0 and self._rows[row - 1].lstrip().startswith(_COMMENTS):
            row -= 1
        return row


def _scopes(path: str, rows: Sequence[str]) -> list[Scope]:
    """Functions and classes of several rows, outer ones before those within them."""
    language = _languages().get(PurePosixPath(path).suffix.lower())
    if language is None or sum(map(len, rows)) > _MAX_PARSED_CHARACTERS:
        return []
    tree = tree_sitter.Parser(language.grammar).parse("\n".join(rows).encode("utf-8"))
    cursor = tree.walk()
    found: set[Scope] = set()
    while True:
        node = cursor.node
        assert node is not None
        scope = Scope(node.start_point.row, node.end_point.row)
        is_long = scope.first < scope.last
        is_scope = node.type in language.scopes or (cursor.depth == 1 and not node.is_error)
        if is_long and is_scope and not _is_decorated(node):
            found.add(scope)
        if is_long and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return sorted(found, key=lambda scope: (scope.first, -scope.last))


def _is_decorated(node: tree_sitter.Node) -> bool:
    """Whether the node with its decorators counts, so that no cut comes between them."""
    return node.parent is not None and node.parent.type == "decorated_definition"


@cache
def _languages() -> dict[str, _Language]:
    text = resources.files("pipelines.documents.code").joinpath("languages.toml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = tomllib.loads(text)
    by_suffix: dict[str, _Language] = {}
    for name, section in table.items():
        language = _Language(tree_sitter.Language(_GRAMMARS[name]()), frozenset(section["scopes"]))
        by_suffix |= dict.fromkeys(section["suffixes"], language)
    return by_suffix
