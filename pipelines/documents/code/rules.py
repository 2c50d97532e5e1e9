"""Which files a code review leaves out, by the rules in left_out.toml; and which paths it refuses.

In: a path, the first bytes or the lines of a file. Out: the reason and which rule, or None.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import islice
from typing import Any, NamedTuple, cast

from pipelines.documents.code.records import LeftOut, Reason
from pipelines.documents.code.shown import visible
from pipelines.documents.readers.lines import Unreadable

MAX_FOLDERS_DEEP = 100
_BINARY_CHECK_BYTES = 8_000  # as git does


class Why(NamedTuple):
    """The reason under which a file is counted, and which rule it was."""

    reason: Reason
    detail: str

    def at(self, path: str, document_uri: str) -> LeftOut:
        """The record of a file left out."""
        return LeftOut(document_uri, path, self.reason, self.detail)


@dataclass(frozen=True, slots=True)
class _Section:
    reason: Reason
    folders: frozenset[str]
    names: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Rules:
    sections: tuple[_Section, ...]
    markers: re.Pattern[str]
    first_lines: int
    max_file_bytes: int
    max_line_characters: int


@cache
def _rules() -> _Rules:
    text = resources.files("pipelines.documents.code").joinpath("left_out.toml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = tomllib.loads(text)
    sections = tuple(
        _Section(cast(Reason, name), frozenset(section.get("folders", ())), _any_of(section["names"]))
        for name, section in table.items()
        if "names" in section
    )
    generated, oversized = table["generated"], table["oversized"]
    return _Rules(sections, _any_of(generated["markers"]), generated["first_lines"], **oversized)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)))


def left_out_by_path(path: str) -> Why | None:
    """Why the file at this path is left out, whatever it holds."""
    *folders, name = path.lower().split("/")
    for section in _rules().sections:
        folder = next((folder for folder in folders if folder in section.folders), None)
        if folder is not None:
            return Why(section.reason, f"in a folder named {folder!r}")
        if section.names.match(name):
            return Why(section.reason, "by its name")
    return None


def left_out_folder(path: str) -> Why | None:
    """Why all below this folder is left out: it need not be looked into."""
    return left_out_by_path(f"{path}/*")


def left_out_by_mode(modes: Iterable[str | None]) -> Why | None:
    """Links and submodules: what they hold is no code, and where they lead is not followed."""
    reasons: dict[str | None, tuple[Reason, str]] = {
        "120000": ("symlink", "a symbolic link; not followed"),
        "160000": ("submodule", "a submodule; review its own repository"),
    }
    return next((Why(*reasons[mode]) for mode in modes if mode in reasons), None)


def left_out_by_size(size_bytes: int) -> Why | None:
    """Why a file of this size is left out; asked before it is read."""
    limit = _rules().max_file_bytes
    if size_bytes > limit:
        return Why("oversized", f"{size_bytes} bytes (max_file_bytes is {limit})")
    return Why("empty", "0 bytes") if size_bytes == 0 else None


def left_out_by_content(data: bytes) -> Why | None:
    """Why a file that holds this is left out; see also `left_out_by_lines`."""
    return Why("binary", "holds a zero byte") if b"\0" in data[:_BINARY_CHECK_BYTES] else None


def left_out_by_lines(lines: Iterable[tuple[int, str]]) -> Why | None:
    """Why a file is left out of which these lines, with their numbers, are known."""
    rules = _rules()
    for number, text in lines:
        if len(text) > rules.max_line_characters:
            limit = rules.max_line_characters
            return Why("oversized", f"line {number} has {len(text)} characters (max_line_characters is {limit})")
        if number <= rules.first_lines and rules.markers.match(text.lower()):
            return Why("generated", f"says so itself in line {number}")
    return None


def check_path(path: str) -> None:
    """Refuse a path that no reader of findings should follow.

    Raises:
        Unreadable: it leads out of the tree, or is not printable UTF-8.
    """
    shown = ascii("".join(islice(path, 100)))
    parts = path.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", path):
        raise Unreadable(f"path {shown} leads out of the tree; mend the path or remove the file")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in path):
        raise Unreadable(f"path {shown} holds control characters or is not UTF-8; rename the file")


def printable(path: str) -> str:
    """A path for ids and messages that `check_path` may have refused."""
    return visible(path.encode("utf-8", "backslashreplace").decode("utf-8"))
