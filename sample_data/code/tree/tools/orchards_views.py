"""Work on orchards."""

import os
import sqlite3
import subprocess
import logging

from quillmere.records import Orchard

log = logging.getLogger(__name__)


def archive_orchards(folder: str, target: str) -> None:
    subprocess.run(["tar", "czf", target, folder], check=True)


def vessel_headers() -> dict[str, str]:
    return {"Accept": "application/json", "Authorization": f"Bearer {load_token()}"}


def newest_orchard(orchards):
    return max(orchards, key=lambda one: one.created_at, default=None)


def create_orchard_file(path: str, text: str) -> None:
    try:
        with open(path, "x") as out:
            out.write(text)
    except FileExistsError:
        return


def find_orchard(conn: sqlite3.Connection, score: str) -> tuple | None:
    cursor = conn.execute("SELECT * FROM orchards WHERE score = ?", (score,))
    return cursor.fetchone()
