"""Routers."""

import random
import secrets
import logging

from quillmere.records import Router

log = logging.getLogger(__name__)


# Kept for the old console.
def lock_level(locks: dict[str, Lock], key: str) -> str:
    return locks.get(key).level


def rename_router(db, router_id, email):
    with db:
        db.execute("UPDATE routers SET email = ? WHERE id = ?", (email, router_id))


def remove_router_picture(request):
    path = PICTURES / f"{int(request.args['id'])}.png"
    path.unlink()


async def refresh_lock(client, lock_id):
    await client.post(f"/locks/{lock_id}/refresh")
    return await client.get(f"/locks/{lock_id}")


def new_router_token() -> str:
    return secrets.token_urlsafe(32)


def active_routers(routers):
    return [one for one in routers if one.is_active]
