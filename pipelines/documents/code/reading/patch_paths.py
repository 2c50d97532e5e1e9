"""The names in the headers of a diff to paths in the tree.

A prefix is what both sides of a file have besides the same path: "a/" and "b/", "old/" and "new/", or nothing at all.
It is never told by a letter: of `git diff --no-prefix`, ``c/price.py`` is just that. One command gives all its files
the same prefixes, so that where one file alone is in doubt the others decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.documents.code.reading.unified import DEV_NULL, DiffFile

# What git and Mercurial write unless told otherwise; asked only where nothing in the diff says more.
_DEFAULT_PREFIXES = ("a/", "b/")
_GIT_PREFIXES = (_DEFAULT_PREFIXES, ("i/", "w/"), ("c/", "i/"), ("c/", "w/"), ("o/", "w/"), ("1/", "2/"))
_MAX_CANDIDATES = 20  # for the prefixes of a whole diff
_MAX_SPLITS = 50  # tried of a line that holds two names with spaces: those nearest to its middle
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_QUOTED_PAIR = re.compile(rf"(?P<old>{_QUOTED}) (?P<new>.+)|(?P<raw>[^\"]+) (?P<last>{_QUOTED})")
_ESCAPE = re.compile(rb'\\([0-7]{3}|[abfnrtv"\\])')
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
# What people put behind a file's name to keep it as it was: `diff -u price.py.orig price.py`.
_BACKUP = re.compile(r"[._-](?:orig|old|bak|backup|save|new)|~\d*", re.IGNORECASE)
_DELIMITERS = re.compile(r"[-_.:+@]*")

Prefixes = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Paths:
    """A file's path before and after; None where there was or is none."""

    old: str | None
    new: str | None


def paths_of(files: Sequence[DiffFile]) -> list[Paths]:
    """Where each file of one diff lies."""
    names = [_names(file) for file in files]
    prefixes = _common_prefixes(names)
    return [_paths(file, pair, prefixes) for file, pair in zip(files, names, strict=True)]


@dataclass(frozen=True, slots=True)
class _Names:
    """Names as they stand in the diff, and, where git tells it, the paths without their prefixes."""

    old: str
    new: str
    moved: tuple[str, str] | None
    is_git: bool

    @property
    def evidence(self) -> Prefixes | None:
        """What both have besides the same path; None where they have none in common."""
        if self.moved is not None:
            old, new = self.moved
            is_fitting = self.old.endswith(old) and self.new.endswith(new)
            return (self.old[: len(self.old) - len(old)], self.new[: len(self.new) - len(new)]) if is_fitting else None
        same = "" if self.is_one_sided else _same_path(self.old, self.new)
        if not same:
            return None
        own = self.old.removesuffix(same), self.new.removesuffix(same)
        # Two files of one name under git's own prefixes: no longer prefixes, but a move that git was not asked to tell.
        is_default = self.is_git and all(map(str.startswith, own, _DEFAULT_PREFIXES))
        return _DEFAULT_PREFIXES if is_default else own

    @property
    def is_one_sided(self) -> bool:
        """Whether the file is nothing before or after."""
        return DEV_NULL in (self.old, self.new)

    def agrees(self, prefixes: Prefixes) -> bool:
        """Whether these may be the prefixes."""
        evidence = self.evidence
        if evidence == prefixes:
            return True
        is_fitting = self.fits(prefixes) and self.moved is None
        return is_fitting and (evidence is None or len(set(self.without(prefixes))) == 1)

    def fits(self, prefixes: Prefixes) -> bool:
        """Whether both names begin with them."""
        pairs = zip((self.old, self.new), prefixes, strict=True)
        return all(name.startswith(prefix) or name == DEV_NULL for name, prefix in pairs)

    def without(self, prefixes: Prefixes) -> tuple[str, str]:
        """Old and new name of a file, each less its prefix."""
        return self.old.removeprefix(prefixes[0]), self.new.removeprefix(prefixes[1])


def _names(file: DiffFile) -> _Names:
    info = file.info
    moved = next(
        (
            (_unquoted(info[f"{how}_from"]), _unquoted(info[f"{how}_to"]))
            for how in ("rename", "copy")
            if f"{how}_from" in info and f"{how}_to" in info
        ),
        None,
    )
    given = tuple(map(_unquoted, file.names)) if file.names else None
    if file.header is not None and (given is None or DEV_NULL in given):
        old, new = _best_split(file.header, " ", _ends(given, moved))
    elif given is not None:
        old, new = given
    else:
        old, new = _best_split(file.binary or "", " and ", None)
    if not file.header:
        old, new = _tidy(old), _tidy(new)
    return _Names(old, new, moved, file.header is not None)


def _ends(given: tuple[str, ...] | None, moved: tuple[str, str] | None) -> tuple[str, str]:
    """What the two names of git's first line must end in, as far as the lines below it say."""
    if moved is not None:
        return moved
    old, new = given or ("", "")
    return ("" if old == DEV_NULL else old), ("" if new == DEV_NULL else new)


def _best_split(text: str, separator: str, ends: tuple[str, str] | None) -> tuple[str, str]:
    """The two names in a text, with or without quotes: of all ways to cut it, that with the longest path in common."""
    quoted = _QUOTED_PAIR.fullmatch(text) if separator == " " else None
    if quoted is not None:
        return _unquoted(quoted["old"] or quoted["raw"]), _unquoted(quoted["new"] or quoted["last"])
    splits = list(_splits(text, separator))
    if ends is not None:
        splits = [(old, new) for old, new in splits if old.endswith(ends[0]) and new.endswith(ends[1])] or splits
    if not splits:
        return text, text
    return max(splits, key=lambda names: len(_same_path(*names)))


def _splits(text: str, separator: str) -> Iterator[tuple[str, str]]:
    """All ways to cut a text in two, those nearest to its middle first: prefixes are about as long as each other."""
    places = [match.start() for match in re.finditer(re.escape(separator), text)]
    places.sort(key=lambda place: abs(2 * place + len(separator) - len(text)))
    return ((text[:place], text[place + len(separator) :]) for place in places[:_MAX_SPLITS])


def _same_path(old: str, new: str) -> str:
    """The longest path that both end in; "" where not even the file's name is the same."""
    if old == new:
        return old
    same = _same_end(old, new)
    starts = [len(name) - len(same) for name in (old, new)]
    is_whole = all(not start or name[start - 1] == "/" for name, start in zip((old, new), starts, strict=True))
    return same if is_whole else same.partition("/")[2]


def _same_end(old: str, new: str) -> str:
    pairs = enumerate(zip(reversed(old), reversed(new), strict=False))
    length = next((at for at, (one, other) in pairs if one != other), min(len(old), len(new)))
    return old[len(old) - length :]


def _common_prefixes(names: Sequence[_Names]) -> Prefixes | None:
    """The prefixes of the command that made the whole diff; None where its files speak for none, or for several."""
    told = dict.fromkeys(evidence for pair in names if (evidence := pair.evidence) is not None)
    candidates = [*told, *_without_slash(names)][:_MAX_CANDIDATES]
    return next((prefixes for prefixes in candidates if all(pair.agrees(prefixes) for pair in names)), None)


def _without_slash(names: Sequence[_Names]) -> list[Prefixes]:
    """The prefixes if they end in no slash: `git diff --src-prefix=old-` makes "old-src/a.py" of "src/a.py"."""
    pair = next((pair for pair in names if pair.is_git and not pair.moved and not pair.is_one_sided), None)
    same = _same_end(pair.old, pair.new) if pair is not None else ""
    delimiter = _DELIMITERS.match(same)
    if pair is None or pair.old == pair.new or not delimiter or not delimiter[0]:
        return []
    kept = same[len(delimiter[0]) :]
    return [(pair.old.removesuffix(kept), pair.new.removesuffix(kept))] if kept else []


def _paths(file: DiffFile, names: _Names, common: Prefixes | None) -> Paths:
    if names.moved is not None:
        return Paths(*names.moved)
    old, new = names.without(_prefixes(names, common))
    if not (names.is_git or names.is_one_sided):
        old, new = _without_backup(old, new)
    return Paths(
        None if file.is_added or old == DEV_NULL else old,
        None if file.is_deleted or new == DEV_NULL else new,
    )


def _prefixes(names: _Names, common: Prefixes | None) -> Prefixes:
    own = common or names.evidence
    if own is not None:
        return own
    defaults = _GIT_PREFIXES if names.is_git else (_DEFAULT_PREFIXES,)
    return next((known for known in defaults if names.fits(known)), ("", ""))


def _without_backup(old: str, new: str) -> tuple[str, str]:
    """One path for both where one is the other's backup."""
    shorter, longer = sorted((old, new), key=len)
    is_backup = longer.startswith(shorter) and _BACKUP.fullmatch(longer[len(shorter) :])
    return (shorter, shorter) if is_backup else (old, new)


def _tidy(name: str) -> str:
    """A name that no git gave: "./a.py" is "a.py", and on Windows it may hold backslashes."""
    if "/" not in name and "\\" in name:
        name = name.replace("\\", "/")
    return re.sub(r"(?<=/)(?:\./|/)+", "", name.removeprefix("./"))


def _unquoted(name: str) -> str:
    """Git's C-style quotes around paths with unusual bytes; bytes that are not UTF-8 stay as lone surrogates."""
    if len(name) < 2 or not (name.startswith('"') and name.endswith('"')):
        return name
    data = _ESCAPE.sub(_unescaped, name[1:-1].encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "surrogateescape")


def _unescaped(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return bytes([int(code, 8) & 0xFF]) if len(code) == 3 else _LETTERS.get(code, code)
