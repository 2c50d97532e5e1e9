"""A folder that others write to as well, such as a drop folder: its objects have versions, and may be replaced.

Nothing of a run lies in one: a run's objects are created once, and stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import obstore
from obstore.exceptions import InvalidPathError

from pipelines.errors import StoreError
from pipelines.store import s3, s3_any_name
from pipelines.store.objects import Store
from pipelines.store.s3_any_name import Entry


class MutableStore(Store):
    """A store whose objects can be looked at one by one, replaced, and removed."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Every object below the folder ``prefix``, on S3 whatever its name: see `s3_any_name.is_usable`."""
        last = ""
        with self._errors("list", prefix):
            try:
                for batch in obstore.list(self._objects, prefix=prefix or None):
                    for found in batch:
                        last = found["path"]
                        yield _entry(found)
                return
            except InvalidPathError:
                if self._is_local:
                    raise
        # A key among the rest of them is one that the library does not take: it gives none of its page.
        bucket, root = s3.split_uri(self.root)
        for entry in s3_any_name.entries(bucket, "/".join(part for part in (root, prefix) if part), after=last):
            yield replace(entry, key=entry.key.removeprefix(f"{root}/" if root else ""))

    def entry(self, key: str) -> Entry | None:
        """What there is to know about an object; None where there is none.

        Raises:
            StoreError: it cannot be asked for.
        """
        if not self._is_local and not s3_any_name.is_usable(key):
            bucket, root = s3.split_uri(self.root)
            found = s3_any_name.entry(bucket, f"{root}/{key}" if root else key)
            return None if found is None else replace(found, key=key)
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
