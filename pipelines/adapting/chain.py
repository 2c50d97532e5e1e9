"""The adapters of a series: its trainings one after another, what became of each, and which one its runs use.

    _series/<job>/adapters/0000001/begun.json    what is learnt from, and since when
    _series/<job>/adapters/0000001/<folder>/     the adapter's files, if it passed the gate
    _series/<job>/adapters/0000001/ended.json    how it ended, and in which folder it is

Each object is created once. Two processes that train the same thing write folders of their own, and what `ended.json`
names stands. Whoever removes an adapter's folder takes it out of use: the runs after that have the one before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.adapting.gate import Gate
from pipelines.store import layout
from pipelines.store.objects import Store

_TOLD = 20  # a report names as many, the newest
_BEGUN, _ENDED = "begun.json", "ended.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class AdaptedTo(_Record):
    """What an adapter is for; a series whose job asks something else by now, or another model, has none yet."""

    base_revision: str
    prompt_fingerprint: str
    own_adapter: str | None  # the one that the job itself names


class Begun(_Record):
    """A training, written down before it begins."""

    number: int
    begun_at: datetime
    runs: tuple[str, ...]  # their folders, the newest first
    after_run: int  # the newest one's number in the series
    sources: tuple[Literal["gold", "people", "claude"], ...]
    adapted_to: AdaptedTo


class Ended(_Record):
    """How a training ended; ``folder`` holds an adopted adapter."""

    ended_at: datetime
    outcome: Literal["adopted", "refused", "failed"]
    reason: str = ""
    folder: str | None = None
    gate: Gate | None = None


class Training(_Record):
    """One training; ``ended`` is None while it goes on, and for good where nobody has brought it to its end."""

    begun: Begun
    ended: Ended | None


class ToldChain(_Record):
    """adapters.json of a run: the trainings before it, the newest first, and whose adapter it uses."""

    used: int | None
    trainings: tuple[Training, ...]


class AdapterChain:
    """The trainings of one series, in its folder."""

    def __init__(self, series: Store) -> None:
        self._store = series

    def newest(self) -> Training | None:
        """The last training that was begun."""
        return next(self._trainings(), None)

    def adopted(self, adapted_to: AdaptedTo) -> int | None:
        """Number of the training whose adapter runs are to use; None: they use what the job names."""
        keys = list(self._store.list(layout.SERIES_ADAPTERS))
        for training in self._trainings(keys):
            ended, number = training.ended, training.begun.number
            if ended is None or ended.folder is None or training.begun.adapted_to != adapted_to:
                continue
            folder = _key(number, ended.folder)
            if any(key.startswith(f"{folder}/") for key in keys):
                return number
        return None

    def begin(self, begun: Begun) -> Training:
        """Write a training down, unless one of its number is: that one is returned, with its end if it has one."""
        self._store.create(_key(begun.number, _BEGUN), begun.model_dump_json().encode())
        return self._training(begun.number)

    def end(self, number: int, ended: Ended) -> Ended:
        """Write down how a training ended; how it did, where another process was first."""
        self._store.create(_key(number, _ENDED), ended.model_dump_json().encode())
        return Ended.model_validate_json(self._store.read(_key(number, _ENDED)))

    def place(self, number: int) -> str:
        """Where the adapter of a training is that was adopted."""
        ended = self._training(number).ended
        assert ended is not None and ended.folder is not None, "only what was adopted is used"
        return f"{self.folder_of(number)}/{ended.folder}"

    def folder_of(self, number: int) -> str:
        """Where everything of one training is."""
        return self._store.uri(layout.series_training(number))

    def told(self, used: int | None) -> ToldChain:
        """What a run that is begun now tells of the trainings before it."""
        newest = [training for training, _ in zip(self._trainings(), range(_TOLD), strict=False)]
        return ToldChain(used=used, trainings=tuple(newest))

    def _trainings(self, keys: list[str] | None = None) -> Iterator[Training]:
        """Newest first, each read when it is asked for."""
        keys = list(self._store.list(layout.SERIES_ADAPTERS)) if keys is None else keys
        numbers = sorted((int(key.split("/")[1]) for key in keys if key.endswith(f"/{_BEGUN}")), reverse=True)
        yield from (self._training(number) for number in numbers)

    def _training(self, number: int) -> Training:
        begun = self._store.read(_key(number, _BEGUN))
        ended = self._store.read_if_exists(_key(number, _ENDED))
        return Training(
            begun=Begun.model_validate_json(begun), ended=Ended.model_validate_json(ended) if ended else None
        )


def _key(number: int, name: str) -> str:
    return f"{layout.series_training(number)}/{name}"
