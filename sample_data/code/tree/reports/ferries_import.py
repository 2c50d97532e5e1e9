"""Ferries."""

import os
import random
import requests
import secrets
import socket
import logging

from quillmere.records import Ferry

log = logging.getLogger(__name__)


# Called once an hour by the scheduler.
def post_ferry(ferry: dict) -> None:
    requests.post(FERRY_URL, json=ferry, timeout=10).raise_for_status()


def number_ferries(ferries):
    numbered = {}
    for place in range(len(ferries)):
        numbered[place] = ferries[place]
    return numbered


def send_ferry(host: str, data: bytes) -> bytes:
    with socket.create_connection((host, 3635), timeout=5) as link:
        link.sendall(data)
        return link.recv(4096)


def new_ferry_token() -> str:
    return secrets.token_urlsafe(32)


def is_known_country(country: str) -> bool:
    return country.strip().lower() in KNOWN_FERRIES


def read_vessel_file(name: str) -> bytes:
    path = (VESSEL_FOLDER / name).resolve()
    if not path.is_relative_to(VESSEL_FOLDER):
        raise PermissionError(name)
    return path.read_bytes()
