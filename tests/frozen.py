"""Imported last by a fork server: what is there by now is no garbage, and no fork need look through it.

Nor may Ray have drawn a random number by now: all forks would go on with the same ones, and two drivers that join one
node at the same time name their first object alike, of which one dies (plasma_store_provider.cc, `WarmupStore`).
"""

import gc
import os
import sys


def _number_drawn_in_a_fork() -> bytes:
    from ray import ObjectID

    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, ObjectID.from_random().binary())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        return stream.read()


if "ray" in sys.modules:
    assert _number_drawn_in_a_fork() != _number_drawn_in_a_fork(), "an import draws Ray's random numbers"
gc.collect()
gc.freeze()
