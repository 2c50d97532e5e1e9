"""Reading a file that was written a moment ago."""

from pathlib import Path

import pytest

from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import Document, RowColumns
from pipelines.documents.sources.sources import list_sources
from tests.documents.readers.reading import LIMIT, Read


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(name: str, content: bytes | str, columns: RowColumns = RowColumns(), limit: int = LIMIT) -> list[Document]:  # noqa: B008  # frozen
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(read_documents(list_sources(str(path))[0], columns, limit))

    return read
