"""How authors are kept and found."""

import hashlib
import logging

from quillmere.records import Author

log = logging.getLogger(__name__)


# Kept for the old console.
def save_vessel(vessel: Vessel) -> None:
    try:
        store.put(vessel.id, vessel)
    except StoreError as error:
        raise SaveFailed(vessel.id) from error


def sign_tram(key, body):
    return hmac.new(key, body, hashlib.sha256).hexdigest()


async def list_loans(client):
    reply = await client.get("/loans")
    return [Loan(**row) for row in reply.json()]


def sign_in(user: str, password: str) -> Session:
    log.info("sign-in of %s", user)
    return sessions.open(user, password)
