"""Reader of e-mails: subject, and every text that is shown when the mail is opened, in its order.

The standard library's parser takes quadratic time for some headers and for deep nesting, so it is not given a whole
mail: parts are split here, in time that grows with size times depth, and depth is bounded; of the headers four are
looked at, each up to a length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header
from email.message import Message

from pipelines.documents.readers.charsets import Decoded, decode, joined_notes
from pipelines.documents.readers.html_text import html_charset, html_to_text
from pipelines.documents.readers.lines import Unreadable

_MAX_DEPTH = 30
_MAX_HEADER_BYTES = 8 * 1024
_MAX_SUBJECT_CHARACTERS = 2_000  # decoding takes quadratic time; no mailer shows more
_NO_TEXT = "mail has no text body; export it again or remove it"
# A header's lines: those of a name, and those that go on with it. What else stands there begins the body.
_HEADER_LINE = re.compile(rb"(?:>?From |[!-9;-~]+[ \t]*:|[ \t]).*\n?")
_HEADER = re.compile(
    rb"^(subject|content-type|content-disposition|content-transfer-encoding)[ \t]*:(.*(?:\n[ \t].*)*)", re.I | re.M
)
# Texts for programs, which no mailer shows as the mail's text.
_NOT_SHOWN = frozenset({"calendar", "css", "javascript", "rfc822-headers", "vcard", "x-amp-html", "x-vcard"})
# What the standard library meets malformed headers and payloads with.
_MALFORMED = (MessageError, LookupError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class _Part:
    """A mail, or a part of one: the headers that matter, and everything below them."""

    headers: Message
    body: bytes
    depth: int

    @property
    def is_shown(self) -> bool:
        disposition = self.headers.get_content_disposition()
        return disposition is None or disposition == "inline"


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    is_html: bool
    note: str | None


def mail_to_text(data: bytes) -> Decoded:
    """Subject and text of a mail; attachments are left out, forwarded mails are part of it.

    Raises:
        Unreadable: it has no text, is malformed, or most of it is not in the charset that it declares.
    """
    data = data.replace(b"\r\n", b"\n")
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    try:
        mail = _part(data, 0)
        subject = _subject(mail)
        texts = list(_texts(mail))
    except _MALFORMED as error:
        raise Unreadable("mail is malformed; export it again") from error
    text = _joined(texts)
    if not text:
        raise Unreadable(_NO_TEXT)
    full_text = f"Subject: {subject.text}\n\n{text}" if subject.text else text
    # A header's bytes may still be lone surrogates, which no UTF-8 column could hold.
    full_text = full_text.encode("utf-8", errors="replace").decode("utf-8")
    return Decoded(full_text, joined_notes(subject.note, *(text.note for text in texts)))


def _part(data: bytes, depth: int, default_type: str = "text/plain") -> _Part:
    if depth > _MAX_DEPTH:
        raise Unreadable(f"parts of the mail are nested more than {_MAX_DEPTH} deep; export it again")
    end = 0
    while found := _HEADER_LINE.match(data, end):
        end = found.end()
    headers = Message()  # the lenient, lazy kind
    headers.set_default_type(default_type)
    for name, value in _HEADER.findall(data[:end]):
        if name.decode("ascii") not in headers:  # the first counts
            shown = b" ".join(value[:_MAX_HEADER_BYTES].split())
            headers[name.decode("ascii")] = shown.decode("utf-8", "replace")
    return _Part(headers, data[end:].removeprefix(b"\n"), depth)


def _subject(part: _Part) -> Decoded:
    raw = " ".join(str(part.headers.get("subject", "")).split())
    note = None
    if len(raw) > _MAX_SUBJECT_CHARACTERS:
        raw = raw[:_MAX_SUBJECT_CHARACTERS].rpartition(" ")[0] or raw[:_MAX_SUBJECT_CHARACTERS]
        note = f"cut: the subject is longer than {_MAX_SUBJECT_CHARACTERS:,} characters"
    try:
        words = decode_header(raw)
    except _MALFORMED:  # an encoded word that is none: shown as it stands
        return Decoded(raw, note)
    pieces: list[str] = []
    for word, charset in words:
        if isinstance(word, str):
            pieces.append(word)
        elif charset is None:
            pieces.append(word.decode("raw-unicode-escape"))  # how decode_header gives back what is not encoded
        else:
            decoded = _decoded_word(word, charset)
            pieces.append(decoded.text)
            note = joined_notes(note, decoded.note)
    return Decoded(" ".join("".join(pieces).split()), note)


def _decoded_word(word: bytes, charset: str) -> Decoded:
    try:
        return decode(word, "subject", charset.partition("*")[0])  # RFC 2231 allows a language after the charset
    except Unreadable as reason:
        return Decoded(word.decode("utf-8", "replace"), str(reason))


def _texts(part: _Part) -> Iterator[_Text]:
    """The texts of a part that are shown, in order."""
    main, kind = part.headers.get_content_maintype(), part.headers.get_content_subtype()
    if main == "multipart":
        yield from _texts_of_parts(part, kind)
    elif main == "message" and kind in ("rfc822", "global"):  # forwarded: shown whatever its disposition
        yield from _texts_of_forwarded(part)
    elif main == "text" and kind not in _NOT_SHOWN and part.is_shown:
        found = _text(part, kind == "html")
        if found.text:
            yield found


def _texts_of_parts(part: _Part, kind: str) -> Iterator[_Text]:
    boundary = part.headers.get_boundary()
    if not boundary:
        yield from _texts(_undivided(part))
        return
    default_type = "message/rfc822" if kind == "digest" else "text/plain"
    parts = [_part(piece, part.depth + 1, default_type) for piece in _split(part.body, boundary)]
    if not parts:
        yield from _texts(_undivided(part))
        return
    if kind not in ("alternative", "related"):
        for each in parts:
            yield from _texts(each)
        return
    # Of alternatives one is shown, of related parts the first; plain text says it with the least around it.
    found = [texts for each in parts if (texts := list(_texts(each)))]
    if kind == "alternative":
        found.sort(key=lambda texts: any(text.is_html for text in texts))
    yield from found[0] if found else ()


def _undivided(part: _Part) -> _Part:
    """A part that calls itself a multipart and has no parts: what stands there is its text."""
    headers = Message()
    return _Part(headers, part.body, part.depth + 1)


def _split(body: bytes, boundary: str) -> list[bytes]:
    mark = re.escape(boundary.encode("utf-8", "surrogateescape"))
    pieces: list[bytes] = []
    start: int | None = None
    for found in re.finditer(rb"^--" + mark + rb"(--)?[ \t]*$\n?", body, re.M):
        if start is not None:
            pieces.append(body[start : found.start()].removesuffix(b"\n"))
        start = found.end()
        if found[1]:
            return pieces
    return pieces if start is None else [*pieces, body[start:]]


def _texts_of_forwarded(part: _Part) -> Iterator[_Text]:
    mail = _part(_payload(part), part.depth + 1)
    texts = list(_texts(mail))
    subject = _subject(mail)
    if subject.text and texts:
        yield _Text(f"Subject: {subject.text}", False, subject.note)
    yield from texts


def _text(part: _Part, is_html: bool) -> _Text:
    data = _payload(part)
    charset = part.headers.get_content_charset() or (html_charset(data) if is_html else None)
    decoded = decode(data, "mail body", charset)
    text = html_to_text(decoded.text) if is_html else decoded.text.strip("\n")
    return _Text(text if text.strip() else "", is_html, decoded.note)


def _payload(part: _Part) -> bytes:
    """The content, its transfer encoding undone."""
    content = Message()
    encoding = part.headers.get("content-transfer-encoding")
    if encoding is None:
        return part.body
    content["content-transfer-encoding"] = encoding
    content.set_payload(part.body.decode("ascii", "surrogateescape"))
    payload = content.get_payload(decode=True)
    if not isinstance(payload, bytes):
        raise Unreadable(_NO_TEXT)
    return payload.replace(b"\r\n", b"\n")


def _joined(texts: list[_Text]) -> str:
    return "\n\n".join(text.text for text in texts)
