"""Reads a source file into documents: picks the reader by name and content, and answers for the file as a whole.

In: a ``SourceFile``. Out: its documents, at least one unless it holds rows and has none; what cannot be read is a
document with a ``failure``, which names the place, what is wrong and the next move, and never quotes document text.
Only ``StoreError`` is raised: a store that stops answering is no document's fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from pipelines.documents.code.reading.patch_reader import read_patches
from pipelines.documents.readers.delimited.reader import read_csv, read_tsv
from pipelines.documents.readers.file_readers import read_html, read_mail, read_text
from pipelines.documents.readers.lines import Unreadable, failed
from pipelines.documents.readers.parquet_reader import PARQUET_MAGIC, read_parquet
from pipelines.documents.readers.row_readers import read_json
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.documents.sources.sources import COMPRESSIONS, head_of
from pipelines.store.s3_reading import ObjectUnavailable

Reader = Callable[[SourceFile, RowColumns, int], Iterator[Document]]

READERS: dict[str, Reader] = {
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".txt": read_text,
    ".md": read_text,
    ".html": read_html,
    ".htm": read_html,
    ".eml": read_mail,
}
_OF_ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")  # no rows is what they may say
_JSON_ROW = re.compile(rb"\s*(?:\[\s*)?\{\s*[\"}]")
_NO_TEXT = {  # what turns up under names of text
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document or an Outlook message",
    b"\x89PNG\r\n": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF89a": "a picture",
    b"BZh91AY&SY": "compressed with bzip2",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"SQLite format 3\x00": "an SQLite database",
    b"Obj\x01": "an Avro file",
    b"ARROW1\x00\x00": "an Arrow file",
}
_EXPORT = "export its sheet as CSV (UTF-8), or write it as Parquet"
WORKBOOKS = {
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls"), f"is an Excel workbook; {_EXPORT}"),
    **dict.fromkeys((".ods", ".numbers"), f"is a spreadsheet; {_EXPORT}"),
}
DIFF_READERS: dict[str, Reader] = {
    ".diff": read_patches,
    ".patch": read_patches,
    ".mbox": read_patches,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}


def read_documents(
    source: SourceFile, columns: RowColumns, max_document_bytes: int, readers: Mapping[str, Reader] = READERS
) -> Iterator[Document]:
    """Streams the documents of one file, in file order, in memory bounded by ``max_document_bytes``.

    For JSONL and CSV the limit holds for the line or row as stored, elsewhere for the document's text or file.
    """
    if source.problem is not None:
        yield failed(source, None, source.problem)
        return
    is_empty = True
    try:
        for document in _reader_of(source, readers)(source, columns, max_document_bytes):
            is_empty = False
            yield document
    except FileNotFoundError:
        yield failed(source, None, "gone since it was listed; put it back or start a new run")
    except PermissionError:
        yield failed(source, None, "may not be read (permission denied); grant read access")
    except (Unreadable, ObjectUnavailable) as reason:
        yield failed(source, None, str(reason))
    else:
        if is_empty and _suffix(source.path) not in _OF_ROWS:
            yield failed(source, None, "is empty; send it again or remove it")


def _reader_of(source: SourceFile, readers: Mapping[str, Reader]) -> Reader:
    """The reader that a file's name asks for, unless its content says otherwise."""
    suffix = _suffix(source.path)
    reader = readers.get(suffix)
    head = head_of(source)
    if head.startswith(PARQUET_MAGIC) and ".parquet" in readers:
        return read_parquet
    if reader is None and not suffix and _JSON_ROW.match(head):
        return readers[".jsonl"]
    if reader is None and suffix in WORKBOOKS:
        raise Unreadable(WORKBOOKS[suffix])
    if reader is None:
        raise Unreadable(
            f"unsupported file type {suffix!r}; supported: {', '.join(readers)} ({', '.join(COMPRESSIONS)})"
        )
    what = next((what for magic, what in _NO_TEXT.items() if head.startswith(magic)), None)
    if what is not None and reader is not read_parquet:
        raise Unreadable(f"is {what}, whatever its name says; send its text as one of {', '.join(readers)}")
    return reader


def _suffix(path: str) -> str:
    name = PurePosixPath(path.lower())
    return name.with_suffix("").suffix if name.suffix in COMPRESSIONS else name.suffix
