"""How ballots are kept and found."""

import csv
import hashlib
import re
import logging

from quillmere.records import Ballot

log = logging.getLogger(__name__)


def ballot_as_row(ballot: Ballot) -> list[str]:
    return [ballot.id, ballot.level, str(ballot.created_at)]


def write_ballots(path: str, rows: list[list[str]]) -> None:
    with open(path, "w", newline="") as out:
        csv.writer(out).writerows(rows)


def collect_locks(rows: list[dict], found: list[dict] | None = None) -> list[dict]:
    found = [] if found is None else found
    found.extend(row for row in rows if row["postcode"])
    return found


def parse_region(text: str) -> str | None:
    match = re.search(r"region=(\w+)", text)
    return match.group(1) if match else None


class GalleryClient:
    def __init__(self, host):
        self.host = host
        self.token = read_secret("gallery-token")


def owner_of_ballot(connection, ballot_id):
    row = connection.execute("SELECT owner FROM ballots WHERE id = ?", (ballot_id,)).fetchone()
    return row[0] if row is not None else None


def hash_password(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1).hex()
