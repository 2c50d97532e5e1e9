"""Finding a run's store by its id or place, and its rows; whoever only reads a run needs nothing else of it."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.errors import RunNotFoundError, StoreError
from pipelines.meant import did_you_mean
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.question_store import QuestionStore


def open_store(run: str) -> Store:
    """The store of a run, by id (of a run started on this machine) or by URI or path.

    One question of a run that asks several is `RUN.QUESTION`, or its folder.

    Raises:
        RunNotFoundError: there is none.
        StoreError: its record is damaged.
    """
    is_location = "/" in run or Path(run).is_dir()
    remembered = settings().state_dir / "runs" / run
    if not is_location and not remembered.is_file() and (question := _question_by_id(remembered)):
        return question
    if not is_location and not remembered.is_file():
        known = [path.name for path in remembered.parent.iterdir()] if remembered.parent.is_dir() else []
        meant = did_you_mean(run, known)
        raise RunNotFoundError(f"no run '{run}' was started on this machine{meant}; give its folder or s3:// URI")
    location = run if is_location else remembered.read_text(encoding="utf-8")
    scheme = _scheme(location)
    # Looked for before it is opened: a store makes the folder that it is given.
    if scheme in ("", "file") and not Path(urlsplit(location).path if scheme else location).is_dir():
        raise RunNotFoundError(f"no run at '{location}': no such folder")
    store = _store_at(location)
    record = store.read_if_exists(layout.RUN)
    if record is None:
        raise RunNotFoundError(f"no run at '{location}': it holds no {layout.RUN}")
    if not _is_record(record):
        raise StoreError(damaged(store.uri(layout.RUN)))
    return store


def _store_at(location: str) -> Store:
    """A question's folder is opened as what it is: part of a run."""
    above, _, question = location.rstrip("/").rpartition("/")
    run, _, folder = above.rpartition("/")
    return QuestionStore(Store(run), question) if run and folder == layout.QUESTIONS else Store(location)


def _question_by_id(remembered: Path) -> Store | None:
    """`RUN.topic` or `RUN.fits.01`: the run is one that was started here, and it has such a question."""
    for place in (place for place, char in enumerate(remembered.name) if char == "."):
        run = remembered.with_name(remembered.name[:place])
        if run.is_file():
            store = QuestionStore(Store(run.read_text(encoding="utf-8")), remembered.name[place + 1 :])
            if store.exists(layout.RUN):
                return store
    return None


def question_stores(store: Store) -> list[QuestionStore]:
    """Those of the questions that a run asks, in its order; none where it asks one.

    Raises:
        StoreError: its record is damaged.
    """
    if isinstance(store, QuestionStore):
        return []
    keys = json.loads(store.read(layout.RUN)).get("questions") or []
    return [QuestionStore(store, str(key)) for key in keys]


def _is_record(data: bytes) -> bool:
    """Whether it says at least which run it is of."""
    try:
        record = json.loads(data)
    except ValueError:
        return False
    return isinstance(record, dict) and isinstance(record.get("run_id"), str)


def damaged(uri: str) -> str:
    """What is said of a record that cannot be read."""
    return (
        f"'{uri}' is damaged: it is not what a run writes there. Put it back from a copy, or run the job anew under "
        "another --run-id"
    )


def result_parts(store: Store) -> list[str]:
    """Keys of the result parts that a run has published, in order."""
    return sorted(key for key in store.list(layout.RESULTS) if key.endswith(layout.RESULT_SUFFIXES))


def _scheme(location: str) -> str:
    try:
        return urlsplit(location).scheme
    except ValueError as error:  # e.g. http://[::1
        raise RunNotFoundError(f"no run at '{location}': no place can be written like this ({error})") from None
