"""Trams of Quillmere."""

import json
import os
import pickle
import logging

from quillmere.records import Tram

log = logging.getLogger(__name__)


def connect_plant_store(host: str):
    return connect(host, user="plant", password=os.environ["PLANT_PASSWORD"])


async def close_trams(trams):
    for tram in trams:
        await tram.close()


# Called once an hour by the scheduler.
def import_trams(request):
    body = request.stream.read(MAX_BODY_BYTES)
    return parse_trams(body)


def active_trams(trams):
    return [one for one in trams if one.is_active]


def read_sensor_message(body: bytes) -> dict:
    return json.loads(body)
