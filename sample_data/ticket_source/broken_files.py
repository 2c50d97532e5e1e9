"""Inputs that are wrong in one way each, for showing and testing that bad input costs one row, not the run.

In: a few good documents. Out: files under one folder. What each is and what to expect: README.md there.
"""

import json
from pathlib import Path

from sample_data.ticket_source.documents import Document
from sample_data.ticket_source.heldout_files import gzip_bytes, parquet_bytes

GOOD_ROWS = 5
OVERSIZE_BYTES = 2_000_000

Row = dict[str, str]


def _lines(rows: list[dict[str, object]]) -> list[bytes]:
    return [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]


def _named(rows: list[Row], stem: str) -> list[dict[str, object]]:
    """The rows with ids of their own: the files are also read together, as one input."""
    return [{**row, "id": f"{stem}-{number}"} for number, row in enumerate(rows, 1)]


def broken_json_lines(rows: list[Row]) -> dict[str, bytes]:
    """Break the third line of a JSON Lines file, each time in another way."""

    def with_third(stem: str, *thirds: bytes) -> bytes:
        good = _lines(_named(rows, stem))
        return b"".join([*good[:2], *thirds, *good[3:]])

    def third(stem: str, **changes: object) -> bytes:
        (line,) = _lines([{**_named(rows, stem)[2], **changes}])
        return line

    no_text = {key: value for key, value in _named(rows, "field")[2].items() if key != "text"}
    wrong_type = [third("type", id="type-3a", text=17), third("type", id="type-3b", text=None)]
    packed = gzip_bytes(b"".join(_lines(_named(rows, "gzip"))))
    return {
        "not-utf8.jsonl": with_third("utf8", third("utf8").replace(b'"text": "', b'"text": "Gr\xfc\xdfe, ')),
        "half-line.jsonl": with_third("half", third("half")[: len(third("half")) // 2] + b"\n"),
        "missing-field.jsonl": with_third("field", *_lines([no_text])),
        "wrong-type.jsonl": with_third("type", *wrong_type),
        "duplicate-ids.jsonl": with_third("twice", third("twice", id="twice-1")),
        "truncated.jsonl.gz": packed[: len(packed) // 2],
    }  # fmt: skip


def broken_tables(rows: list[Row]) -> dict[str, bytes]:
    """Break CSV and Parquet files."""
    texts = [" ".join(row["text"].split()[:40]).replace('"', "") for row in rows]
    ragged = ["id,text", *(f'ragged-{number},"{text}"' for number, text in enumerate(texts, 1))]
    ragged[3] += ",one,field,too,many"
    columns = ["id,channel,received_at", *(f"{row['id']},web form,{row['received_at']}" for row in rows)]
    parquet = parquet_bytes(rows)
    return {
        "missing-column.csv": "\n".join([*columns, ""]).encode(),
        "ragged.csv": "\n".join([*ragged, ""]).encode(),
        "not-parquet.parquet": b"This is a text file that somebody renamed.\n",
        "truncated.parquet": parquet[: len(parquet) // 2],
    }


def broken_texts(text: str) -> dict[str, bytes]:
    """Break whole-file documents."""
    paragraph = (" ".join(text.split()) + "\n").encode()
    headers = (
        "From: Someone <someone@mailbox.example>\nTo: support@quillmere.example\nSubject: \n"
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=x-no-such-charset\nContent-Transfer-Encoding: base64\n\n"
    )
    return {
        "empty.txt": b"",
        "blank.txt": b" \n\t\n   \n",
        "not-utf8.txt": "Die Tür schließt nicht, Größe stimmt.\n".encode("iso-8859-1") + b"\xff\xfe\x00\x80\n",
        "oversize.txt": (paragraph * (OVERSIZE_BYTES // len(paragraph) + 1))[:OVERSIZE_BYTES],
        "broken.eml": headers.encode(),
    }


def write_broken(documents: list[Document], folder: Path) -> None:
    """Write every broken file; the README beside them stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": f"g-{at}", "received_at": f"{doc.facts['today_iso']}T09:00:00+00:00", "text": doc.text}
        for at, doc in enumerate(documents[:GOOD_ROWS], 1)
    ]
    files = broken_json_lines(rows) | broken_tables(rows) | broken_texts(documents[0].text)
    for name, content in files.items():
        (folder / name).write_bytes(content)
