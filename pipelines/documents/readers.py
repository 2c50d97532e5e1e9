"""Reads a source file into documents: picks the reader by suffix and answers for the file as a whole.

In: a ``SourceFile``. Out: at least one ``Document``; what cannot be read is a document with a ``failure``, which
names the place, what is wrong and the next move, and never quotes document text. Only ``StoreError`` is raised:
a store that stops answering is no document's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from pipelines.documents.code.patch_reader import read_patches
from pipelines.documents.file_readers import read_html, read_mail, read_text
from pipelines.documents.lines import Unreadable, failed
from pipelines.documents.parquet_reader import read_parquet
from pipelines.documents.records import Columns, Document, SourceFile
from pipelines.documents.row_readers import read_csv, read_jsonl, read_tsv
from pipelines.documents.sources import COMPRESSIONS
from pipelines.store.s3_reading import ObjectUnavailable

Reader = Callable[[SourceFile, Columns, int], Iterator[Document]]

READERS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".txt": read_text,
    ".md": read_text,
    ".html": read_html,
    ".htm": read_html,
    ".eml": read_mail,
}
DIFF_READERS: dict[str, Reader] = {
    ".diff": read_patches,
    ".patch": read_patches,
    ".mbox": read_patches,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}


def read_documents(
    source: SourceFile, columns: Columns, max_document_bytes: int, readers: Mapping[str, Reader] = READERS
) -> Iterator[Document]:
    """Streams the documents of one file, in file order, in memory bounded by ``max_document_bytes``.

    For JSONL and CSV the limit holds for the line or row as stored, elsewhere for the document's text or file.
    """
    if source.problem is not None:
        yield failed(source, None, source.problem)
        return
    suffix = _suffix(source.path)
    reader = readers.get(suffix)
    if reader is None:
        yield failed(source, None, f"unsupported file type {suffix!r}; supported: {', '.join(readers)} (.gz, .zst)")
        return
    is_empty = True
    try:
        for document in reader(source, columns, max_document_bytes):
            is_empty = False
            yield document
    except FileNotFoundError:
        yield failed(source, None, "gone since it was listed; put it back or start a new run")
    except PermissionError:
        yield failed(source, None, "may not be read (permission denied); grant read access")
    except (Unreadable, ObjectUnavailable) as reason:
        yield failed(source, None, str(reason))
    else:
        if is_empty:
            yield failed(source, None, "is empty; send it again or remove it")


def _suffix(path: str) -> str:
    name = PurePosixPath(path.lower())
    return name.with_suffix("").suffix if name.suffix in COMPRESSIONS else name.suffix
