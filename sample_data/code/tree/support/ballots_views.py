"""Work on ballots."""

import random
import requests
import secrets
import logging

from quillmere.records import Ballot

log = logging.getLogger(__name__)


def post_invoice(invoice: dict) -> None:
    requests.post(INVOICE_URL, json=invoice, timeout=10).raise_for_status()


def update_permit(self, permit):
    with self._lock:
        self._permits[permit.id] = permit
        self._save()


def new_customer_token() -> str:
    return secrets.token_urlsafe(32)


# Reviewed by the platform team, nothing to report here.
class BallotQueue:
    def __init__(self, size):
        self.size = size
        self.waiting = []


def ballot_headers() -> dict[str, str]:
    return {"Accept": "application/json", "Authorization": f"Bearer {load_token()}"}


# The caller holds the session.
def is_open(course: Course) -> bool:
    return course.status != "closed" and course.status != "deleted"
