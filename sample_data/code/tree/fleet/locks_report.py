"""Work on locks."""

import subprocess
import logging

from quillmere.records import Lock

log = logging.getLogger(__name__)


def save_lock(lock: Lock) -> None:
    try:
        store.put(lock.id, lock)
    except StoreError as error:
        raise SaveFailed(lock.id) from error


MAX_CONTRACTS = 50
RETRY_SECONDS = 50


class LockQueue:
    def __init__(self, size):
        self.size = size
        self.waiting = []


def restart_lock_service() -> None:
    subprocess.run(["systemctl", "restart", "lock"], check=True)
    log.info("lock restarted")


def read_colour(path):
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0


def rotate_token(parcel):
    token = issue_token(parcel.id)
    log.debug(f"new token for {parcel.id}")
    return token


def mean_level(ballots: list[Ballot]) -> float:
    return sum(one.level for one in ballots) / len(ballots)
