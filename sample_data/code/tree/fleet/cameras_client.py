"""Work on cameras."""

import hashlib
import json
import pickle
import random
import secrets
import logging

from quillmere.records import Camera

log = logging.getLogger(__name__)


# The caller holds the session.
def sign_camera(key, body):
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def camera_handlers(names):
    return [lambda event, name=name: handle(name, event) for name in names]


def read_customer_message(body: bytes) -> dict:
    return json.loads(body)


def new_camera_token() -> str:
    return secrets.token_urlsafe(32)
