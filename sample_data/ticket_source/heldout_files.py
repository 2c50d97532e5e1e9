"""The held-out documents as files of every kind the readers know.

In: labelled documents. Out: files under one folder and the gold rows; no label is ever written beside a text.
"""

import csv
import datetime
import gzip
import html
import io
import json
import random
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sample_data.ticket_source.documents import Document

LAYOUT = {
    "tickets.jsonl": 700,
    "archive.jsonl.gz": 400,
    "crm-export.parquet": 400,
    "helpdesk.csv": 300,
    "mail/*.eml": 80,
    "pages/*.html": 40,
    "notes/*.txt": 40,
    "notes/*.md": 40,
}
ID_PREFIX = {"tickets.jsonl": "tkt", "archive.jsonl.gz": "arc", "crm-export.parquet": "crm", "helpdesk.csv": "hd"}
CHANNELS = ("web form", "e-mail", "chat", "app", "letter")
GoldRow = tuple[str, str, str]


def gzip_bytes(data: bytes) -> bytes:
    """Compress without a time stamp, so that the same data gives the same bytes."""
    return gzip.compress(data, 9, mtime=0)


def _received_at(document: Document, rng: random.Random) -> datetime.datetime:
    day = datetime.datetime.fromisoformat(document.facts["today_iso"])
    return day.replace(hour=rng.randint(6, 21), minute=rng.randrange(60), tzinfo=datetime.UTC)


def _row(document: Document, document_id: str, rng: random.Random) -> dict[str, str]:
    return {
        "id": document_id,
        "channel": rng.choice(CHANNELS),
        "received_at": _received_at(document, rng).isoformat(),
        "customer": document.facts["org"],
        "text": document.text,
    }


def json_lines(rows: list[dict[str, str]]) -> bytes:
    """Set rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def csv_bytes(rows: list[dict[str, str]]) -> bytes:
    """Set rows as CSV; texts keep their line breaks and commas inside quotes."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def parquet_bytes(rows: list[dict[str, str]]) -> bytes:
    """Set rows as Parquet with a real time column."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    stamps = [datetime.datetime.fromisoformat(value) for value in columns["received_at"]]
    table = pa.table({
        **{name: pa.array(values, pa.string()) for name, values in columns.items()},
        "received_at": pa.array(stamps, pa.timestamp("s", tz="UTC")),
    })  # fmt: skip
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=128)
    return sink.getvalue()


def html_body(text: str) -> str:
    """Set text as paragraphs."""
    paragraphs = (html.escape(part).replace("\n", "<br>\n") for part in text.split("\n\n"))
    return "\n".join(f"<p>{part}</p>" for part in paragraphs)


def mail_bytes(document: Document, rng: random.Random) -> bytes:
    """Set a document as an RFC 5322 message, in turn plain, encoded, in another charset, or with an HTML part."""
    facts = document.facts
    text, subject = document.text, "Message to support"
    first_line, _, rest = text.partition("\n")
    if first_line.startswith("Subject: "):
        subject, text = first_line.removeprefix("Subject: "), rest.lstrip()
    message = EmailMessage()
    message["From"] = f"{facts['person']} <{facts['email']}>"
    message["To"] = "Quillmere Support <support@quillmere.example>"
    message["Subject"] = subject
    message["Date"] = format_datetime(_received_at(document, rng))
    message["Message-ID"] = f"<{rng.getrandbits(64):016x}@mail.example>"
    kind = rng.choice(("plain", "quoted-printable", "base64", "latin", "alternative", "alternative", "html"))
    if kind == "latin":
        text = text.encode("iso-8859-1", "replace").decode("iso-8859-1")
        message.set_content(text, charset="iso-8859-1", cte="quoted-printable")
    elif kind == "html":
        message.set_content(f"<html><body>{html_body(text)}</body></html>", subtype="html", cte="quoted-printable")
    else:
        cte = kind if kind in ("quoted-printable", "base64") else "8bit"
        message.set_content(text, cte=cte)
    if kind == "alternative":
        message.add_alternative(
            f"<html><head><style>p {{ font-family: serif }}</style></head><body>{html_body(text)}</body></html>",
            subtype="html",
            cte="quoted-printable",
        )
        message.set_boundary(f"=={rng.getrandbits(48):012x}==")
    return message.as_bytes()


def page_bytes(document: Document) -> bytes:
    """Set a document as a help-desk web page with the usual things around the text."""
    facts = document.facts
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Help desk archive, {html.escape(facts["ticket"])}</title>
  <style>body {{ margin: 2em; font: 16px serif }} nav a {{ color: #246 }}</style>
  <script>window.page = {{"refund": 0, "billing": 0, "views": 12}};</script>
</head>
<body>
<header><h1>Message {html.escape(facts["ticket"])}</h1>
<p>From {html.escape(facts["person"])}, {facts["today_iso"]}</p></header>
<main>
{html_body(document.text)}
</main>
<script>console.log("loaded");</script>
</body>
</html>
"""
    return page.encode()


def markdown_bytes(document: Document) -> bytes:
    """Set a document as a note in Markdown."""
    facts = document.facts
    head = (
        f"# Note {facts['ticket']}\n\n*Taken by {facts['agent']} on {facts['today_iso']}, customer {facts['org']}*\n\n"
    )
    return (head + document.text + "\n").encode()


def write_heldout(documents: list[Document], folder: Path, seed: int) -> list[GoldRow]:
    """Spread documents over the formats and return id, class and hardness of each."""
    rng = random.Random(f"{seed}:files")
    gold: list[GoldRow] = []
    rest = list(documents)
    for pattern, count in LAYOUT.items():
        share, rest = rest[:count], rest[count:]
        ids = [_document_id(pattern, number) for number in range(1, count + 1)]
        gold += [(name, doc.label, doc.hardness or "") for name, doc in zip(ids, share, strict=True)]
        if pattern in ID_PREFIX:
            rows = [_row(doc, name, rng) for name, doc in zip(ids, share, strict=True)]
            (folder / pattern).write_bytes(_table_bytes(pattern, rows))
            continue
        for name, doc in zip(ids, share, strict=True):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_file_bytes(path.suffix, doc, rng))
    return gold


def _document_id(pattern: str, number: int) -> str:
    if pattern in ID_PREFIX:
        return f"{ID_PREFIX[pattern]}-{number:04d}"
    return pattern.replace("*", f"{number:04d}")


def _table_bytes(name: str, rows: list[dict[str, str]]) -> bytes:
    if name.endswith(".csv"):
        return csv_bytes(rows)
    if name.endswith(".parquet"):
        return parquet_bytes(rows)
    lines = json_lines(rows)
    return gzip_bytes(lines) if name.endswith(".gz") else lines


def _file_bytes(suffix: str, document: Document, rng: random.Random) -> bytes:
    if suffix == ".eml":
        return mail_bytes(document, rng)
    if suffix == ".html":
        return page_bytes(document)
    if suffix == ".md":
        return markdown_bytes(document)
    return (document.text + "\n").encode()
