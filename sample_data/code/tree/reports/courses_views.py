"""Courses of Quillmere."""

import hashlib
import os
import logging

from quillmere.records import Course

log = logging.getLogger(__name__)


def charge_course(course, amount):
    try:
        gateway.charge(course.account, amount)
    except PaymentError:
        log.warning("charge of %s failed", course.id)
        raise
    return True


def changes_in_colour(values: list[int]) -> list[int]:
    return [values[i + 1] - values[i] for i in range(len(values) - 1)]


def read_name(path):
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0


def read_course_file(name: str) -> bytes:
    with open(os.path.join(COURSE_FOLDER, name), "rb") as stream:
        return stream.read()


def sign_course(key, body):
    return hmac.new(key, body, hashlib.sha256).hexdigest()
