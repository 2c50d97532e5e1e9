"""A folder that others write to as well, such as a drop folder: its objects have versions, and may be replaced.

Nothing of a run lies in one: a run's objects are created once, and stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import obstore

from pipelines.errors import StoreError
from pipelines.store.objects import Store


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of an object, without its content; ``version_id`` is None where versions are not kept."""

    key: str
    size_bytes: int
    e_tag: str
    version_id: str | None
    written_at: datetime


class MutableStore(Store):
    """A store whose objects can be looked at one by one, replaced, and removed."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Every object below the folder ``prefix``."""
        with self._errors("list", prefix):
            for batch in obstore.list(self._objects, prefix=prefix or None):
                yield from map(_entry, batch)

    def entry(self, key: str) -> Entry | None:
        """What there is to know about an object; None where there is none.

        Raises:
            StoreError: it cannot be asked for, such as under a name that no request can carry.
        """
        try:
            with self._errors("read", key):
                return _entry(obstore.head(self._objects, key))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"'{self.uri(key)}' cannot be read under this name ({error}); rename it") from error

    def replace(self, key: str, data: bytes) -> None:
        """Write an object, whatever was there."""
        with self._errors("write", key):
            obstore.put(self._objects, key, data)

    def remove(self, key: str) -> None:
        """Delete an object that may be replaced."""
        with self._errors("delete", key):
            obstore.delete(self._objects, key)


def _entry(found: obstore.ObjectMeta) -> Entry:
    version = found.get("version")
    return Entry(
        key=found["path"],
        size_bytes=found["size"],
        e_tag=(found["e_tag"] or "").strip('"'),
        version_id=None if version in (None, "null") else version,  # "null": written while versions were not kept
        written_at=found["last_modified"],
    )
