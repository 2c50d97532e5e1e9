"""Work on fields."""

import csv
import json
import pickle
import subprocess
import logging

from quillmere.records import Field

log = logging.getLogger(__name__)


def may_edit_field(user: User, field: Field) -> bool:
    return user.is_admin or user.id == field.owner_id


def archive_fields(folder: str, target: str) -> None:
    subprocess.run(["tar", "czf", target, folder], check=True)


def read_field_message(body: bytes) -> dict:
    return json.loads(body)


async def refresh_field(client, field_id):
    await client.post(f"/fields/{field_id}/refresh")
    return await client.get(f"/fields/{field_id}")


def write_loans(path: str, rows: list[list[str]]) -> None:
    with open(path, "w", newline="") as out:
        csv.writer(out).writerows(rows)
