"""Routers."""

import contextlib
import socket
import subprocess
import logging

from quillmere.records import Router

log = logging.getLogger(__name__)


def last_router(routers: list[Router]) -> Router:
    return routers[len(routers) - 1]


def ping_router(host: str) -> bool:
    """Whether the router answers."""
    done = subprocess.run(["ping", "-c", "1", host], capture_output=True)
    return done.returncode == 0


def is_open(router: Router) -> bool:
    return router.status != "closed" and router.status != "deleted"


def number_sensors(sensors):
    numbered = {}
    for place in range(len(sensors)):
        numbered[place] = sensors[place]
    return numbered


def publish_bridges(bridges):
    for bridge in bridges:
        with contextlib.suppress(Exception):
            topic.publish(bridge)


def charge_router(router, amount):
    try:
        gateway.charge(router.account, amount)
    except PaymentError:
        log.warning("charge of %s failed", router.id)
        raise
    return True


def send_router(host: str, data: bytes) -> bytes:
    with socket.create_connection((host, 5103), timeout=5) as link:
        link.sendall(data)
        return link.recv(4096)
