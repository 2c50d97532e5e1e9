"""The runs of a job that keep one promise together: counted one after another, in a chain beside its runs.

    <output>/_terms/<job>/<what is promised of whom>/000000.json, 000001.json …     a place for each run
    <run>/calibration/term.json                                                     how the term stood when it began

A run takes the first place that is free, by a conditional create, once its sample has its labels: what stands of it
follows from the place before, and is written in its own. So runs may be under way side by side, two are never counted
as one, and a run that was killed finds its place again. A run that never takes one has accepted nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from flows.deciding.prior import RULE
from flows.deciding.profiles import fingerprints_of, job_key
from flows.run import Run
from pipelines.cascade.rule.doubt import BoolArray
from pipelines.cascade.rule.strike_limits import Counted, Standing
from pipelines.cascade.rule.target import Target
from pipelines.cascade.rule.term import Term, count_run
from pipelines.errors import JobError
from pipelines.job.sections import Quality
from pipelines.store import layout
from pipelines.store.objects import Store


class Place(BaseModel):
    """One run as it was counted, and in which of the job's terms; its first has the number 1."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    term: int
    runs: int  # of the term by then
    counted: Counted


class Begun(BaseModel):
    """How the chain stood when a run bought its first label; ``alone`` says why the run is of no term, if so."""

    model_config = ConfigDict(frozen=True)

    places: int = 0
    standing: Standing = Standing()
    alone: str | None = None


class RunTerm:
    """A run's part in its term."""

    def __init__(self, run: Run, term: Term, begun: Begun, items: int) -> None:
        self.term, self.planned = term, begun.standing
        self._run, self._begun, self._items = run, begun, items
        self._store, self._folder = Store(run.job.output), _folder(run)

    def count(self, is_strike: BoolArray) -> Counted:
        """Take the first free place behind those that are taken, or find the own one again; see `count_run`."""
        number = self._begun.places
        last = _last(self._store, self._folder, number)
        while True:
            taken = _read(self._store, self._folder, number)
            if taken is None:
                place = self._behind(last, is_strike)
                self._store.create(_key(self._folder, number), place.model_dump_json().encode())
            elif taken.run_id == self._run.run_id:
                return taken.counted
            else:
                last, number = taken, number + 1

    def place(self) -> Place | None:
        """The own one, once it is taken."""
        for number in range(self._begun.places, 10**6):
            taken = _read(self._store, self._folder, number)
            if taken is None or taken.run_id == self._run.run_id:
                return taken
        return None

    def _behind(self, last: Place | None, is_strike: BoolArray) -> Place:
        standing, number, runs = _room(last, self.term, self._items)
        counted = count_run(self.term, standing, self._items, is_strike)
        return Place(run_id=self._run.run_id, term=number, runs=runs + 1, counted=counted)


def begin_term(run: Run, promise: Target | None, items: int) -> RunTerm | None:
    """Write down how the term stands, before the run's first label; None where the run keeps its promise alone.

    Args:
        run: any.
        promise: of its job.
        items: of the run, such as may be sent to Claude.

    Raises:
        JobError: a place of the chain cannot be read.
    """
    term = term_of(run, promise)
    if term is None:
        return None
    if not run.store.exists(layout.TERM):
        begun = _begin(run, term, items)
        run.store.create(layout.TERM, begun.model_dump_json().encode())
    return begun_term(run, promise, items)


def begun_term(run: Run, promise: Target | None, items: int) -> RunTerm | None:
    """As it was begun; see `begin_term`."""
    term, data = term_of(run, promise), run.store.read_if_exists(layout.TERM)
    if term is None or data is None:
        return None
    begun = Begun.model_validate_json(data)
    return None if begun.alone else RunTerm(run, term, begun, items)


def why_alone(run: Run) -> str | None:
    """Why a run of a job with terms is of none."""
    data = run.store.read_if_exists(layout.TERM)
    return None if data is None else Begun.model_validate_json(data).alone


def term_of(run: Run, promise: Target | None) -> Term | None:
    """What the job promises of its runs together, if it does."""
    quality = run.job.quality
    if promise is None or not isinstance(quality, Quality) or quality.term_items is None:
        return None
    return Term(replace(promise, audit_items=0), quality.term_items)


def _begin(run: Run, term: Term, items: int) -> Begun:
    if items > term.items:
        return Begun(alone=f"it has {items:,} items, and a term {term.items:,}")
    store, folder = Store(run.job.output), _folder(run)
    places = sum(1 for _ in store.list(folder + "/"))
    standing, _, _ = _room(_last(store, folder, places), term, items)
    return Begun(places=places, standing=standing)


def _room(last: Place | None, term: Term, items: int) -> tuple[Standing, int, int]:
    """The term that a run behind ``last`` is counted in: how it stands, its number, its runs; a new one if need be."""
    if last is None:
        return Standing(), 1, 0
    if last.counted.after.items + items > term.items:
        return Standing(), last.term + 1, 0
    return last.counted.after, last.term, last.runs


def _folder(run: Run) -> str:
    """Of the runs that are asked the same of the same Claude models and promised the same; the engine may change."""
    quality, prints = run.job.quality, fingerprints_of(run)
    assert isinstance(quality, Quality)
    same = [RULE, quality.target, quality.assurance, quality.term_items, prints.labels, prints.asked]
    digest = hashlib.sha256(json.dumps(same).encode()).hexdigest()[:12]
    return f"{layout.terms_folder(job_key(run))}/{digest}"


def _key(folder: str, number: int) -> str:
    return f"{folder}/{number:06d}.json"


def _last(store: Store, folder: str, places: int) -> Place | None:
    last = _read(store, folder, places - 1) if places else None
    if places and last is None:
        raise _broken(store, folder, places - 1)
    return last


def _read(store: Store, folder: str, number: int) -> Place | None:
    data = store.read_if_exists(_key(folder, number))
    if data is None:
        return None
    try:
        return Place.model_validate_json(data)
    except ValueError as error:
        raise _broken(store, folder, number) from error


def _broken(store: Store, folder: str, number: int) -> JobError:
    where = store.uri(_key(folder, number))
    return JobError([f"output: {where} is no place of a term, and what may stand follows from it; restore it"])
