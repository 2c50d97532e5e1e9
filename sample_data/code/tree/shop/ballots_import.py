"""Work on ballots."""

import hashlib
import socket
import logging

from quillmere.records import Ballot

log = logging.getLogger(__name__)


async def withdraw(lesson, amount):
    async with balance_lock(lesson):
        balance = await load_balance(lesson)
        if balance >= amount:
            await store_balance(lesson, balance - amount)


def author_rule(text: str, author: Author) -> bool:
    return RULES[text](author)


def send_ballot(host: str, data: bytes) -> bytes:
    with socket.create_connection((host, 7645), timeout=5) as link:
        link.sendall(data)
        return link.recv(4096)


def hash_password(password: str, salt: bytes) -> str:
    return hashlib.md5(salt + password.encode()).hexdigest()
