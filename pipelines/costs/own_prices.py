"""The user's own prices: a TOML file of rows like those of prices.toml, refused with every mistake and its line."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.errors import JobError
from pipelines.store.regular_files import read_regular

SETTING = "SLUICE_PRICES"
_MOST_BYTES = 1_000_000
_HEADER = re.compile(r"\s*\[\[?\s*([\w-]+)\s*\]\]?")
_FIELD = re.compile(r"\s*([\w-]+)\s*=")
_KEY = ("provider", "model", "valid_from", "prompt_tokens_above")

_Content = TypeVar("_Content", bound=BaseModel)


class OwnFile(NamedTuple):
    """Where it lies, and what it said."""

    path: str
    digest: str


def read_own_file(path: Path, schema: type[_Content]) -> tuple[_Content, OwnFile]:
    """The file's rows, as ``schema`` wants them.

    Raises:
        JobError: with every mistake, each naming its line and field.
    """
    try:
        data = read_regular(path, _MOST_BYTES)
        text = data.decode()
        # Decimals from the first: 0.1 is not what a float makes of it.
        content = tomllib.loads(text, parse_float=Decimal)
    except OSError as error:
        raise JobError([f"{SETTING}: {path} cannot be read ({error.strerror})"], source="your prices") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise JobError([f"{path}: not TOML: {error}"], source="your prices") from None
    problems = list(_twice(content, text))
    try:
        rows = schema.model_validate(content)
    except ValidationError as error:
        problems += [_told(detail, text, schema) for detail in error.errors(include_url=False)]
    if problems:
        raise JobError(problems, source=str(path))
    return rows, OwnFile(str(path), hashlib.sha256(data).hexdigest()[:12])


def _told(detail: Any, text: str, schema: type[BaseModel]) -> str:
    names = list(detail["loc"])
    kind, message = detail["type"], str(detail["msg"])
    table, number, field = (*names, None, None)[:3]
    if not isinstance(number, int):  # a table that is no list, such as [gpu]
        field, number = number, 0
    where = f"line {_line(text, str(table), number, field)}: {table}" + (f".{field}" if field else "")
    if kind == "extra_forbidden" and field is None:
        return f"{where}: no such table; there are {', '.join(schema.model_fields)}"
    if kind == "extra_forbidden":
        return f"{where}: no such field; prices.toml in pipelines/costs has rows to start from"
    if kind == "missing":
        return f"{where}: missing"
    return f"{where}: {message[0].lower()}{message[1:]}"


def _line(text: str, table: str, number: int, field: object) -> int:
    """Line of the field in the n-th table of that name; of the table's head, where it has no such field."""
    seen, head, here = 0, 0, ""
    for at, line in enumerate(text.splitlines(), 1):
        if found := _HEADER.match(line):
            here = found[1]
            if here == table:
                seen += 1
                head = at if seen == number + 1 else head
        elif (found := _FIELD.match(line)) and found[1] in (field, table):
            if here == table and seen == number + 1:
                return at
            if not here and found[1] == table:  # a name outside all tables
                return at
    return head or 1


def _twice(content: dict[str, Any], text: str) -> Iterator[str]:
    """Two rows for one model and day: whichever is taken, the other was meant."""
    for table, rows in content.items():
        if not isinstance(rows, list):
            continue
        seen = Counter[str]()
        for number, row in enumerate(rows):
            key = str([row.get(name, 0) for name in _KEY]) if isinstance(row, dict) else f"{number}"
            seen[key] += 1
            if seen[key] == 2:
                yield f"line {_line(text, table, number, None)}: {table}: {row.get('model')} is there twice; remove one"
