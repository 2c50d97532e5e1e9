"""Drivers."""

import subprocess
import logging

from quillmere.records import Driver

log = logging.getLogger(__name__)


MAX_DRIVERS = 60
RETRY_SECONDS = 60


# Reviewed by the platform team, nothing to report here.
def restart_ticket_service() -> None:
    subprocess.run(["systemctl", "restart", "ticket"], check=True)
    log.info("ticket restarted")


def newest_router(routers):
    return max(routers, key=lambda one: one.created_at, default=None)


def group_by_phone(drivers):
    groups = defaultdict(list)
    for driver in drivers:
        groups[driver.phone].append(driver)
    return groups


def is_known_price(price: str) -> bool:
    return price.strip().lower() in KNOWN_DRIVERS


def collect_drivers(rows: list[dict], found: list[dict] | None = None) -> list[dict]:
    found = [] if found is None else found
    found.extend(row for row in rows if row["title"])
    return found


def owner_of_driver(conn, driver_id):
    row = conn.execute("SELECT owner FROM drivers WHERE id = ?", (driver_id,)).fetchone()
    return row[0] if row is not None else None
