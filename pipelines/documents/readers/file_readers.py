"""Readers of files that are one document: plain text and Markdown, HTML pages, e-mails."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.documents.readers.charsets import BYTE_ORDER_MARK, Decoded, decode
from pipelines.documents.readers.html_text import html_charset, html_to_text
from pipelines.documents.readers.lines import Unreadable, read_whole
from pipelines.documents.readers.mail_reader import mail_to_text
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.documents.sources.sources import COMPRESSIONS, open_source


def read_text(source: SourceFile, columns: RowColumns, max_document_bytes: int) -> Iterator[Document]:
    """The file as it is, with Windows line ends made plain."""
    data = _read_file(source, max_document_bytes)
    if data:
        decoded = decode(data, "file")
        # Marks between files that were joined are no text either.
        text = decoded.text.replace("\r\n", "\n").replace("\n" + BYTE_ORDER_MARK, "\n")
        yield _document(source, Decoded(text, decoded.note))


def read_html(source: SourceFile, columns: RowColumns, max_document_bytes: int) -> Iterator[Document]:
    """What a reader of the page would see."""
    data = _read_file(source, max_document_bytes)
    if data:
        decoded = decode(data, "file", html_charset(data))
        yield _document(source, Decoded(html_to_text(decoded.text), decoded.note))


def read_mail(source: SourceFile, columns: RowColumns, max_document_bytes: int) -> Iterator[Document]:
    """Subject and all text that is shown; attachments are left out."""
    data = _read_file(source, max_document_bytes)
    if data:
        yield _document(source, mail_to_text(data))


def _read_file(source: SourceFile, max_document_bytes: int) -> bytes:
    size_bytes = None if source.path.lower().endswith(COMPRESSIONS) else source.size_bytes
    with open_source(source) as stream:
        return read_whole(stream, max_document_bytes, size_bytes)


def _document(source: SourceFile, decoded: Decoded) -> Document:
    if not decoded.text.strip():
        raise Unreadable("holds no text; send it again or remove it")
    return Document(source.path, source.uri, 0, decoded.text, note=decoded.note)
