"""Names of files and folders: which are no input, and which cannot be written down.

A name becomes part of ids, messages and reports. One that is not UTF-8, or holds a line break or a control character,
would break them: what has such a name is told by a name that can be written, and is not read.
"""

from __future__ import annotations

import re

from pipelines.documents.records import Reason

_UNFINISHED = (".part", ".tmp")  # uploads under way
# Control characters (C0, C1), the line breaks of Unicode, and surrogates, which stand for bytes that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

DETAILS: dict[Reason, str] = {
    "hidden": "its name begins with '.' or '_'",
    "unfinished": "its name ends in .part or .tmp: an upload under way",
}


def why_ignored(name: str, *, is_folder: bool) -> Reason | None:
    """Why something of this name is no input, if so."""
    if name.startswith((".", "_")):
        return "hidden"
    return "unfinished" if not is_folder and name.lower().endswith(_UNFINISHED) else None


def ignored_part(path: str) -> tuple[str, Reason] | None:
    """The first part of a path that is no input, with all before it; a folder ends in a slash."""
    *folders, name = path.split("/")
    for depth, folder in enumerate(folders, start=1):
        if reason := why_ignored(folder, is_folder=True):
            return "/".join(folders[:depth]) + "/", reason
    reason = why_ignored(name, is_folder=False)
    return (path, reason) if reason else None


def problem_of_name(name: str) -> str | None:
    """Why a name cannot be written down, and the next move."""
    if _UNPRINTABLE.search(name) is None:
        return None
    return "its name is not UTF-8 or holds a line break or control character; rename it"


def shown_name(name: str) -> str:
    """The name as it can be written down: what cannot be is shown as Python would write it in a string."""
    return _UNPRINTABLE.sub(_escaped, name)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode("ascii")
