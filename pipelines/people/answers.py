"""The answers that people gave to items of a run: a place of their own beside its rows.

    <run>/people/part-00000.arrow, part-00001.arrow, …

Why not among `results/`: an item has one row, and it is there already, in `review` or `withheld`; a second one would
break "one item, one row", and nothing is ever rewritten. Why not before `_COMPLETE`: nobody knows what is left over
until a run is at its end, and nothing of the run waits for people. So rows, summary and report stay as the run left
them, `_COMPLETE` stays the end of what is spent, sent and published, and whoever reads rows reads these beside them
(`with_people`): the route keeps its name, costs and counts are the run's, the answer is the person's.

The parts are a log. Each is created once, under the next number: two who write at a time want the same number, the
store gives it to one, and the other reads what came before and looks again. An answer says which earlier one it takes
the place of, as its giver saw it. Where that is no longer so it is refused, so nobody overwrites what they never saw.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.routes import Route
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import ANSWERED_RESULTS, ANSWERS, DUPLICATE_OF, from_arrow, to_arrow
from pipelines.store.side_by_side import in_order

# Of these a person decides. What a policy withholds from Claude is shown to people only where they ask for it.
ROUTES_OF_PEOPLE = (Route.REVIEW, Route.WITHHELD)
PEOPLE_COLUMNS = ("answered_by", "person", "answered_at")
_PART = re.compile(rf"{layout.PEOPLE}/part-\d+\.arrow")
_BY_PERSON = "person"
_BY_ROUTE = {Route.ACCEPTED: "engine", Route.ESCALATED: "claude"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person answered about one item; ``replaces`` is the answer that it takes the place of."""

    item_id: str
    answer: str
    person: str
    answered_at: datetime
    tool: str
    comment: str | None = None
    replaces: str | None = None


@dataclass(frozen=True)
class Taken:
    """What became of answers that were given: kept, there already, or refused beside the answer in their place.

    Where any is refused, none is kept.
    """

    kept: int
    known: int
    refused: tuple[tuple[Answer, Answer | None], ...] = ()


class Answers:
    """The log of one run, as this process knows it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parts = 0
        self.by_item: dict[str, Answer] = {}  # the one that holds
        self.read()

    def read(self) -> None:
        """Take in what others have given since."""
        numbers = sorted(layout.shard_of(key) for key in self._store.list(layout.PEOPLE) if _PART.fullmatch(key))
        new = [number for number in numbers if number >= self._parts]
        for data in in_order(lambda number: self._store.read(layout.people_part(number)), new):
            for row in from_arrow(data).to_pylist():
                self.by_item[row["item_id"]] = Answer(**{name: row[name] for name in ANSWERS.names})
        self._parts = max([self._parts, *(number + 1 for number in new)])

    def give(self, given: Sequence[Answer]) -> Taken:
        """Keep answers, all or none of them; what is there already is kept once.

        Args:
            given: at most one of an item.
        """
        while True:
            new = [each for each in given if self._text(each.item_id) != each.answer]
            refused = [each for each in new if self._text(each.item_id) != each.replaces]
            known = len(given) - len(new)
            if refused:
                return Taken(0, known, tuple((each, self.by_item.get(each.item_id)) for each in refused))
            if not new or self._create(new):
                return Taken(len(new), known)
            self.read()

    def _create(self, new: Sequence[Answer]) -> bool:
        """False if somebody else has taken the next place."""
        # Two may give the very same answers at the very same time: the token says whose part it is.
        table = pa.Table.from_pylist([asdict(each) for each in new], ANSWERS)
        table = table.replace_schema_metadata({"token": uuid.uuid4().hex})
        if not self._store.create(layout.people_part(self._parts), to_arrow(table)):
            return False
        self._parts += 1
        self.by_item |= {each.item_id: each for each in new}
        return True

    def _text(self, item_id: str) -> str | None:
        known = self.by_item.get(item_id)
        return known.answer if known else None


def with_people(table: pa.Table, answers: Mapping[str, Answer]) -> pa.Table:
    """Result rows with what people answered; a copy takes what its original was given.

    Args:
        table: columns of schema `RESULTS`, ``item_id``, ``duplicate_of``, ``route`` and ``answer`` among them.
        answers: by item; where there are none, the first two are not needed.

    Returns:
        The same with `PEOPLE_COLUMNS`.
    """
    given = list(answers.values())
    ids = pc.coalesce(table[DUPLICATE_OF], table["item_id"]) if given else pa.nulls(len(table), pa.string())
    places = pc.index_in(ids, value_set=pa.array([each.item_id for each in given], pa.string()))

    def of_people(name: str) -> Any:
        kind = ANSWERED_RESULTS.field(name).type
        return pa.array([getattr(each, name) for each in given], kind).take(places)

    by = pc.index_in(table["route"], value_set=pa.array(map(str, _BY_ROUTE), pa.string()))
    by_route = pa.array(_BY_ROUTE.values(), pa.string()).take(by)
    by_person = pc.if_else(pc.is_valid(places), _BY_PERSON, by_route)
    answer = pc.coalesce(of_people("answer"), table["answer"])
    table = table.set_column(table.column_names.index("answer"), "answer", answer)
    columns = (by_person, of_people("person"), of_people("answered_at"))
    for name, column in zip(PEOPLE_COLUMNS, columns, strict=True):
        table = table.append_column(ANSWERED_RESULTS.field(name), column.cast(ANSWERED_RESULTS.field(name).type))
    return table
