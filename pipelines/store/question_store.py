"""The store of one question of a run that asks several: to whoever opens it, that of an ordinary run.

    <run>/plan/…  carried.arrow  input.arrow     all questions' alike: read and planned once
    <run>/results/<question>/…                   its rows, so that `<run>/results` holds the rows of all
    <run>/questions/<question>/…                 everything else: record, predictions, decisions, journal, summary

A key stays what it is in any run; where it lies is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import IOBase

from pipelines.store import layout
from pipelines.store.objects import Listed, Store

_OF_THE_RUN = (layout.PLAN, layout.CARRIED, layout.INPUT, layout.LEFT_OUT)


class QuestionStore(Store):
    """Keys of one question, below the store of its run."""

    def __init__(self, run: Store, question: str) -> None:
        self.run, self.question = run, question
        self.root = f"{run.root}/{layout.question_folder(question)}"

    @property
    def run_root(self) -> str:
        """Of the run, which goes on with all its questions."""
        return self.run.root

    def uri(self, key: str) -> str:
        """What a person can open."""
        return self.run.uri(self._place(key))

    def create(self, key: str, data: bytes) -> bool:
        """See `Store.create`."""
        return self.run.create(self._place(key), data)

    def read_if_exists(self, key: str) -> bytes | None:
        """See `Store.read_if_exists`."""
        return self.run.read_if_exists(self._place(key))

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        return self.run.exists(self._place(key))

    def folders(self) -> list[str]:
        """None that a question's keys name."""
        return []

    def list(self, prefix: str) -> Iterator[str]:
        """See `Store.list`."""
        cut = len(self._place(prefix)) - len(prefix)
        return (self._key(key, prefix, cut) for key in self.run.list(self._place(prefix)))

    def listing(self, prefix: str, after: str | None = None) -> Iterator[Listed]:
        """See `Store.listing`."""
        cut = len(self._place(prefix)) - len(prefix)
        for entry in self.run.listing(self._place(prefix), None if after is None else self._place(after)):
            yield replace(entry, key=self._key(entry.key, prefix, cut))

    @contextmanager
    def opened(self, key: str) -> Iterator[IOBase]:
        """See `Store.opened`."""
        with self.run.opened(self._place(key)) as file:
            yield file

    def clear_staging(self) -> None:
        """Nothing: other questions of the run may still be written."""

    def _place(self, key: str) -> str:
        """Where a key, or the folder of that name, lies below the run."""
        first, _, rest = key.partition("/")
        if first in _OF_THE_RUN or key in _OF_THE_RUN:
            return key
        if first == layout.RESULTS:
            return f"{layout.RESULTS}/{self.question}{f'/{rest}' if rest else ''}"
        return f"{layout.question_folder(self.question)}/{key}"

    def _key(self, place: str, prefix: str, cut: int) -> str:
        """The inverse, of something below ``prefix``, whose place is ``cut`` characters longer."""
        return f"{prefix}{place[len(prefix) + cut :]}"
