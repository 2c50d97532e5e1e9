"""Bytes to text, by what the bytes say of themselves: a byte order mark, a declared charset, else UTF-8.

In: bytes and the name of a charset, where one is declared. Out: text, with a note where some of it could not be read:
such bytes become U+FFFD, because one of them costs a document little, and its row says so. Charsets go by what mailers
and browsers mean with their names: who writes gb2312 uses the characters of gb18030.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import NamedTuple

from pipelines.documents.readers.lines import WIDE_MARKS, Unreadable

BYTE_ORDER_MARK = "\ufeff"
_REPLACEMENT = "\ufffd"
_MARKS = ((codecs.BOM_UTF8, "utf-8"), *WIDE_MARKS)
# What a name means in mails and pages, by Python's name of the codec; of several the first that fits all bytes.
_MEANT: dict[str, tuple[str, ...]] = {
    "ascii": ("utf-8", "cp1252"),
    "iso8859-1": ("cp1252",),
    "iso8859-9": ("cp1254",),
    "iso8859-11": ("cp874",),
    "tis-620": ("cp874",),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "big5": ("big5hkscs", "cp950"),
    "cp950": ("cp950", "big5hkscs"),
    "shift_jis": ("cp932",),
    "euc_jp": ("euc_jp", "euc_jis_2004"),
    "euc_kr": ("cp949",),
    "utf-16": ("utf-16-le",),  # without a mark; RFC 2781 would have it big-endian, mailers do not
    "utf-32": ("utf-32-le",),
}
# Names that Python does not know.
_NAMES = {
    "gb-2312": "gb2312",
    "gb-2312-80": "gb2312",
    "csgb2312": "gb2312",
    "sjis-win": "cp932",
    "windows-31j": "cp932",
    "cswindows31j": "cp932",
    "eucjp-win": "euc_jp",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-6-i": "iso8859-6",
    "iso-8859-6-e": "iso8859-6",
    "koi": "koi8-r",
    "koi8-ru": "koi8-u",
    "mac": "mac-roman",
    "mac-ce": "mac-latin2",
    "unicode": "utf-16",
    "utf8mb4": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
}
_CODE_PAGE = re.compile(r"(?:windows|win|cp|ms|ibm|dos)-?(\d{3,5})")
_UNDECLARED = frozenset({"", "default", "unknown", "unknown-8bit", "8bit", "7bit", "binary", "none"})
# Python's codecs that are no charset of a text; punycode takes quadratic time.
_NO_CHARSETS = frozenset(
    ("idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "mbcs", "oem", "base64", "bz2", "hex")
) | {"quopri", "rot13", "uu", "zlib"}
# More than this share of U+FFFD is no text with a slip in it but another charset, or no text.
_MAX_BAD_SHARE = 0.25


class Decoded(NamedTuple):
    """A text, and what its reader should know of how it was read."""

    text: str
    note: str | None = None


def decode(data: bytes, unit: str, declared: str | None = None) -> Decoded:
    """Decodes bytes by their byte order mark, else their declared charset, else as UTF-8.

    Args:
        data: what to decode.
        unit: what it is, for messages ("line", "file", "mail body").
        declared: a charset's name as found, of any spelling.

    Raises:
        Unreadable: most of it is no text in that charset.
    """
    for mark, marked in _MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], unit, (marked,), len(mark))
    name = _tidy(declared)
    if name in _UNDECLARED:
        return _decoded(data, unit, ("utf-8",))
    candidates = _candidates(name)
    if candidates is not None:
        return _decoded(data, unit, candidates)
    found = _decoded(data, unit, ("utf-8",))
    if data.isascii():
        return found
    unknown = f"the charset {name[:40]!r} of the {unit} is not known: read as UTF-8"
    return Decoded(found.text, joined_notes(unknown, found.note))


def codec_of(charset: str) -> str | None:
    """Python's codec for the charset of a name of any spelling; None where no charset has it."""
    candidates = _candidates(_tidy(charset))
    return candidates[0] if candidates else None


def decode_line(data: bytes) -> Decoded:
    """Decodes a line of a file; marks at its start are left over from joining files.

    Raises:
        Unreadable: most of it is no UTF-8.
    """
    try:
        return Decoded(data.decode().removeprefix(BYTE_ORDER_MARK))
    except UnicodeDecodeError:
        return _decoded(data, "line", ("utf-8",))


def joined_notes(*notes: str | None) -> str | None:
    """One note out of several; each is said once."""
    return "; ".join(dict.fromkeys(note for note in notes if note)) or None


def _tidy(declared: str | None) -> str:
    name = (declared or "").strip(" \t\"'").lower().replace("_", "-")
    return name.removeprefix("x-")


def _candidates(name: str) -> tuple[str, ...] | None:
    """Names of the codecs to try, or None where no charset has this name."""
    if name.startswith(("iso-2022-jp", "cp5022", "csiso2022jp")):
        return ("iso-2022-jp",)
    spelt = _NAMES.get(name, name)
    code_page = _CODE_PAGE.fullmatch(spelt)
    for spelling in (spelt, f"cp{code_page[1]}") if code_page else (spelt,):
        try:
            codec = codecs.lookup(spelling)
        except (LookupError, ValueError):  # ValueError: a NUL in the name
            continue
        return None if codec.name in _NO_CHARSETS else _MEANT.get(codec.name, (codec.name,))
    return None


def _decoded(data: bytes, unit: str, candidates: tuple[str, ...], offset: int = 0) -> Decoded:
    problem: UnicodeDecodeError | None = None
    for name in candidates:
        try:
            return Decoded(_decoder(name)(data, "strict").removeprefix(BYTE_ORDER_MARK))
        except UnicodeDecodeError as error:
            problem = problem or error
    assert problem is not None
    text = _decoder(candidates[-1])(data, "replace").removeprefix(BYTE_ORDER_MARK)
    shown = candidates[0].upper()
    place = f"byte {problem.start + offset} of the {unit}"
    bad = text.count(_REPLACEMENT)
    if bad > max(1, len(text) * _MAX_BAD_SHARE) or not text.strip(f"{_REPLACEMENT} \t\r\n"):
        raise Unreadable(f"not {shown} at {place}; convert it to UTF-8")
    more = f" and {bad - 1:,} more" if bad > 1 else ""
    return Decoded(text, f"not {shown} at {place}{more}: read as U+FFFD")


def _decoder(name: str) -> Callable[[bytes, str], str]:
    if name == "iso-2022-jp":
        return _decode_iso_2022_jp
    return lambda data, errors: data.decode(name, errors)


_ESCAPE = re.compile(rb"(\x1b\([BJIH]|\x1b\$\(?[@BD]|\x0e|\x0f)")


def _decode_iso_2022_jp(data: bytes, errors: str) -> str:
    """ISO-2022-JP as Windows mailers write it (cp50220 to 50222): with the vendors' characters, which Python's lack.

    Its double bytes are those of cp932 in another arrangement.
    """
    pieces: list[str] = []
    is_double, codec, start = False, "cp932", 0
    is_kana = False
    for token in _ESCAPE.split(data):
        if _ESCAPE.fullmatch(token):
            is_double = token.startswith(b"\x1b$")
            is_kana = token in (b"\x1b(I", b"\x0e")
            codec = "euc_jp" if token == b"\x1b$(D" else "cp932"
        elif token:
            packed = _packed(token, is_double, is_kana, codec)
            try:
                pieces.append(packed.decode(codec, errors))
            except UnicodeDecodeError as error:
                raise UnicodeDecodeError("iso-2022-jp", data, start + error.start, start + error.end, "") from error
        start += len(token)
    return "".join(pieces)


def _packed(token: bytes, is_double: bool, is_kana: bool, codec: str) -> bytes:
    if is_kana:
        return bytes(byte | 0x80 if byte >= 0x21 else byte for byte in token)
    if not is_double:
        return token
    packed = bytearray()
    at = 0
    while at < len(token):
        first, second = token[at], token[at + 1] if at + 1 < len(token) else 0
        if not (0x21 <= first <= 0x7E and 0x21 <= second <= 0x7E):
            packed.append(first)  # a line end, or a stray byte
            at += 1
        elif codec == "euc_jp":
            packed += bytes((0x8F, first | 0x80, second | 0x80))
            at += 2
        else:
            lead = (first + 1) // 2 + (0x70 if first <= 0x5E else 0xB0)
            trail = second + 0x7E if first % 2 == 0 else second + (0x20 if second >= 0x60 else 0x1F)
            packed += bytes((lead, trail))
            at += 2
    return bytes(packed)
