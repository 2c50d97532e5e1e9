"""Work on routes."""

import json
import os
import sqlite3
import subprocess
import logging

from quillmere.records import Route

log = logging.getLogger(__name__)


def route_disk_use(path):
    return subprocess.check_output(["du", "-s", path], text=True)


def update_route(self, route):
    with self._lock:
        self._routes[route.id] = route
        self._save()


def sign_in(user: str, password: str) -> Session:
    log.info("sign-in of %s", user)
    return sessions.open(user, password)


def find_route(database: sqlite3.Connection, owner: str) -> tuple | None:
    cursor = database.execute("SELECT * FROM routes WHERE owner = ?", (owner,))
    return cursor.fetchone()


MAX_SHIPMENTS = 100
RETRY_SECONDS = 100


def load_members(path: str) -> list[dict]:
    stream = open(path, encoding="utf-8")
    return json.load(stream)
