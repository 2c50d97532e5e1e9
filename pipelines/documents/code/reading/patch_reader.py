"""Reader of patch files: .diff, .patch, and mailboxes of several patches as `git format-patch --stdout` writes them.

One file is one document, of a mailbox each message is one. Its text is subject, message and diff as they came;
`pipelines.documents.code.reading.diffs` makes of it what is reviewed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header

from pipelines.documents.code.reading.changes import decode
from pipelines.documents.readers.lines import Line, Unreadable, failed, over_limit, read_lines
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.documents.sources.sources import open_source

# Git's own mark of a message; anything looser would cut messages that quote mail.
_MESSAGE_START = re.compile(rb"From [0-9a-f]{40,64} Mon Sep 17 00:00:00 2001\r?")
_SUBJECT_TAG = re.compile(r"\[PATCH[^\]]*\]\s*")
# What the standard mail parser meets malformed or endlessly nested mails with.
_MALFORMED_MAIL = (MessageError, LookupError, ValueError, TypeError, AttributeError, RecursionError)
_MAX_SUBJECT_CHARACTERS = 2_000  # decoding takes quadratic time
_NO_TEXT = "holds no text; send it again or remove it"


@dataclass
class _Gathered:
    """The lines of one document as they come, in memory that the limit bounds."""

    limit_bytes: int
    number: int = 1  # of its first line
    is_message: bool = False
    size_bytes: int = 0
    problem: str | None = None
    lines: list[bytes] = field(default_factory=list)

    def add(self, line: Line) -> None:
        self.size_bytes += len(line.data) + 1
        if self.problem is None and line.problem is not None:
            self.problem = line.problem
        if self.problem is None and self.size_bytes > self.limit_bytes:
            self.problem = over_limit("patch", None, self.limit_bytes)
        if self.problem is not None:
            self.lines.clear()
        else:
            self.lines.append(line.data)


def read_patches(source: SourceFile, columns: RowColumns, max_document_bytes: int) -> Iterator[Document]:
    """Streams the patches of one file, in file order, in memory bounded by ``max_document_bytes``."""
    gathered = _Gathered(max_document_bytes)
    with open_source(source) as stream:
        for line in read_lines(stream, max_document_bytes):
            is_start = _MESSAGE_START.fullmatch(line.data) is not None
            if is_start and (line.number == 1 or gathered.is_message):
                if gathered.is_message:
                    yield _document(source, gathered)
                gathered = _Gathered(max_document_bytes, line.number, is_message=True)
            else:
                gathered.add(line)
    if gathered.size_bytes or gathered.is_message:
        yield _document(source, gathered)


def _document(source: SourceFile, gathered: _Gathered) -> Document:
    position = gathered.number if gathered.is_message else None
    if gathered.problem is not None:
        return failed(source, position, gathered.problem)
    data = b"".join(line + b"\n" for line in gathered.lines)
    try:
        text = _mail_text(data) if gathered.is_message else decode(data)
        if not text.strip():
            raise Unreadable(_NO_TEXT)
    except Unreadable as reason:
        return failed(source, position, str(reason))
    if position is None:
        return Document(source.path, source.uri, 0, text)
    return Document(f"{source.path}:{position}", source.uri, position, text)


def _mail_text(data: bytes) -> str:
    """Subject and body of a message; the mail's other headers (who, when) say nothing about the code."""
    try:
        mail = message_from_bytes(data)
        subject = str(make_header(decode_header(str(mail.get("subject", ""))[:_MAX_SUBJECT_CHARACTERS])))
        texts = [part.get_payload(decode=True) for part in mail.walk() if part.get_content_maintype() == "text"]
    except _MALFORMED_MAIL as error:
        raise Unreadable("mail is malformed; export it again") from error
    body = "\n".join(decode(text) for text in texts if isinstance(text, bytes))
    if not body.strip():
        raise Unreadable(_NO_TEXT)
    title = _SUBJECT_TAG.sub("", " ".join(subject.split()), count=1)
    return f"{title}\n\n{body}"
