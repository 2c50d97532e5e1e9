"""Tables that are more than the Parquet files in their folder: Delta, Iceberg and Hudi.

Such a table's log says which files still count. Deleted and replaced rows stay in the folder, so that reading every
file there would bring back rows that are rows no more. In: a source. Out: why it is not read, or None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from functools import lru_cache

from pipelines.documents.records import SourceFile
from pipelines.errors import JobError, StoreError
from pipelines.store import s3
from pipelines.store.s3_listing import list_objects

# The folder of the log in the table's root, the ending of what is in it, and whose it is.
_LOGS = (("_delta_log", ".json", "Delta"), ("metadata", ".metadata.json", "Iceberg"), (".hoodie", "", "Hudi"))
_LOOKS_HOLD_SECONDS = 60  # a table of ten thousand files is one table


def table_refusal(source: SourceFile, names_in: Callable[[str], Collection[str]] | None = None) -> str | None:
    """Why a Parquet file is not to be read by itself: a folder above it, up to the input's, is a table with a log.

    Args:
        source: a Parquet file.
        names_in: what lies in a folder, nothing where there is none; None to look where the source lies.
    """
    folder = source.uri.rpartition("/")[0]
    for _ in range(source.path.count("/") + 1):
        for log, ending, kind in _LOGS:
            place = f"{folder}/{log}"
            names = names_in(place) if names_in else _names_in(place, int(time.monotonic() / _LOOKS_HOLD_SECONDS))
            if any(name.endswith(ending) for name in names):
                return (
                    f"is part of a {kind} table: its log ({log}) says which rows still count, and removed ones would "
                    "be read too; write the table's present rows as plain Parquet files and name those"
                )
        folder = folder.rpartition("/")[0]
    return None


@lru_cache(maxsize=1024)
def _names_in(folder: str, moment: int) -> Collection[str]:
    try:
        if folder.startswith("s3://"):
            return [version.key for version in list_objects(*s3.split_uri(folder), recursive=False)]
        return os.listdir(folder)
    except (JobError, StoreError, OSError):  # no such folder; or whoever may not list named the file outright
        return ()
