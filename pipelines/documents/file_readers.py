"""Readers of files that are one document: plain text and Markdown, HTML pages, e-mails."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import MIMEPart

from bs4 import BeautifulSoup, Tag
from bs4.element import PreformattedString
from bs4.exceptions import ParserRejectedMarkup

from pipelines.documents.lines import Unreadable, decode_utf8, read_whole
from pipelines.documents.records import Columns, Document, SourceFile
from pipelines.documents.sources import COMPRESSIONS, open_source

_DROPPED_TAGS = frozenset({"script", "style", "template"})
_BLOCK_TAG = re.compile(
    "address|article|aside|blockquote|body|br|caption|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer"
    "|form|h[1-6]|header|hr|html|legend|li|main|nav|ol|option|p|pre|section|summary|table|td|th|title|tr|ul"
)
# The standard mail parser meets malformed headers with whichever of these its grammar stumbles into.
_MALFORMED_MAIL = (MessageError, LookupError, ValueError, TypeError, AttributeError, AssertionError, RecursionError)


def read_text(source: SourceFile, columns: Columns, max_document_bytes: int) -> Iterator[Document]:
    """The file as it is, with Windows line ends made plain."""
    data = _read_file(source, max_document_bytes)
    if data:
        yield _document(source, decode_utf8(data, "file").replace("\r\n", "\n"))


def read_html(source: SourceFile, columns: Columns, max_document_bytes: int) -> Iterator[Document]:
    """What a reader of the page would see."""
    data = _read_file(source, max_document_bytes)
    if data:
        yield _document(source, html_to_text(decode_utf8(data, "file")))


def read_mail(source: SourceFile, columns: Columns, max_document_bytes: int) -> Iterator[Document]:
    """Subject and body; attachments are left out."""
    data = _read_file(source, max_document_bytes)
    if data:
        yield _document(source, _mail_to_text(data))


def _read_file(source: SourceFile, max_document_bytes: int) -> bytes:
    size_bytes = None if source.path.lower().endswith(COMPRESSIONS) else source.size_bytes
    with open_source(source) as stream:
        return read_whole(stream, max_document_bytes, size_bytes)


def _document(source: SourceFile, text: str) -> Document:
    if not text.strip():
        raise Unreadable("holds no text; send it again or remove it")
    return Document(document_id=source.path, document_uri=source.uri, document_offset=0, text=text)


def html_to_text(markup: str) -> str:
    """Visible text of a page: one line per block element, white space within it collapsed.

    One pass in document order: asking each string for its ancestors, or inserting line breaks into the tree,
    takes quadratic time on the deeply nested or very flat pages that turn up in the wild.
    """
    pieces: list[str] = []
    block_of: dict[int, Tag | None] = {}
    current: Tag | None = None
    for element in _parse_html(markup).descendants:
        parent = element.parent
        block = block_of.get(id(parent), parent)
        if isinstance(element, Tag):
            is_dropped = block is None or element.name in _DROPPED_TAGS
            is_block = _BLOCK_TAG.fullmatch(element.name) is not None
            block_of[id(element)] = None if is_dropped else element if is_block else block
            if is_block:
                pieces.append("\n")
        elif block is not None and not isinstance(element, PreformattedString):
            if block is not current:
                pieces.append("\n")
                current = block
            pieces.append(re.sub(r"\s+", " ", str(element)))
    lines = (" ".join(line.split()) for line in "".join(pieces).split("\n"))
    return "\n".join(line for line in lines if line)


def _parse_html(markup: str) -> BeautifulSoup:
    # No tag starts after the last ">". The parser would find that out anew for each "<": 60 KB took it half a minute.
    tags_end = markup.rfind(">") + 1
    markup = markup[:tags_end] + markup[tags_end:].replace("<", "&lt;")
    with warnings.catch_warnings():
        # Text that looks like a path, a URL or XML is still what we were asked to read.
        warnings.simplefilter("ignore")
        try:
            return BeautifulSoup(io.StringIO(markup), "html.parser")
        except (ParserRejectedMarkup, RecursionError) as error:
            raise Unreadable("HTML is too broken to read; mend it or send it as .txt") from error


def _mail_to_text(data: bytes) -> str:
    try:
        mail = message_from_bytes(data, policy=policy.default)
        subject = " ".join(str(mail.get("subject", "")).split())
        bodies = [mail.get_body(preferencelist=(kind,)) for kind in ("plain", "html")]
    except _MALFORMED_MAIL as error:
        raise Unreadable("mail is malformed; export it again") from error
    texts = (_body_text(body) for body in bodies if body is not None)
    text = next((text for text in texts if text.strip()), None)
    if text is None:
        raise Unreadable("mail has no text body; export it again or remove it")
    full_text = f"Subject: {subject}\n\n{text}" if subject else text
    # Raw bytes in a header come out as lone surrogates, which no UTF-8 column could hold.
    return full_text.encode("utf-8", errors="replace").decode("utf-8")


def _body_text(body: MIMEPart) -> str:
    try:
        declared = body.get_content_charset("us-ascii")
        charset = "utf-8" if declared in ("us-ascii", "ascii") else declared  # many mailers leave it undeclared
        payload = body.get_payload(decode=True)
        is_html = body.get_content_subtype() == "html"
    except _MALFORMED_MAIL as error:
        raise Unreadable("mail body is malformed; export it again") from error
    if not isinstance(payload, bytes):
        raise Unreadable("mail has no text body; export it again or remove it")
    try:
        text = payload.decode(charset).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Unreadable(f"mail body is not {charset[:40]!r} at byte {error.start}; export it as UTF-8") from error
    except (LookupError, ValueError) as error:
        raise Unreadable(f"mail body has the unknown charset {charset[:40]!r}; export it as UTF-8") from error
    return html_to_text(text) if is_html else text.strip("\n")
