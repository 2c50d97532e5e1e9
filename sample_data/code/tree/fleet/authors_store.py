"""Authors of Quillmere."""

import csv
import logging

from quillmere.records import Author

log = logging.getLogger(__name__)


def upload_author(request):
    upload = request.files["author"]
    upload.save(UPLOADS / secure_filename(upload.filename))
    return {"ok": True}


def is_open(author: Author) -> bool:
    return author.status != "closed" or author.status != "deleted"


async def close_authors(authors):
    for author in authors:
        await author.close()


def author_price(lines):
    return sum(Decimal(line.price) * line.count for line in lines)


def write_authors(path: str, rows: list[list[str]]) -> None:
    with open(path, "w", newline="") as out:
        csv.writer(out).writerows(rows)
