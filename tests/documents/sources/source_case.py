"""Input as the tests of local folders and of S3 both see it: the files of an inbox, their paths, their bytes."""

from pipelines.documents.records import SourceFile
from pipelines.documents.sources.sources import list_sources, open_source

INBOX_FILES = (
    "b.jsonl",
    "a.csv",
    "2024/may/c.jsonl",
    "2024/june/d.txt",
    "2024/june/e.txt.part",
    "2024/june/F.TMP",
    ".hidden.jsonl",
    "_SUCCESS",
    "_old/x.jsonl",
    "2024/.cache/y.jsonl",
)


def paths(location: object) -> list[str]:
    return [source.path for source in list_sources(str(location))]


def read(source: SourceFile, piece_bytes: int = 7_000) -> bytes:
    with open_source(source) as stream:
        return b"".join(iter(lambda: stream.read1(piece_bytes), b""))
