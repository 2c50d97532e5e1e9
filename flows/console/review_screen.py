"""The screen that asks one item after another: what it shows at any size, and what each key does.

An answer is kept in the run's store before the next item is shown. Text of documents is data: what a terminal would
obey is shown as an escape.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from flows.console.keys import DOWN, END, UP
from flows.console.printable import printable, printable_line
from pipelines.people.answers import Answer
from pipelines.people.waiting import AskedRun, Waiting

# Of the letters, the screen's own keys are left out.
LABEL_KEYS = "123456789acdefghijklmnoprtuvwxyzACDEFGHIJKLMNOPRTUVWXYZ"
_SKIP, _BACK, _QUIT, _HELP = "s", "b", "q", "?"
_MOST_CHARACTERS = 200_000  # of one text
_LEAST_TEXT_LINES = 3
_ROOMY = 18  # lines


class ReviewScreen:
    """Where one person is among the items."""

    def __init__(self, asked: AskedRun, chosen: list[str], person: str, now: Callable[[], datetime]) -> None:
        self._asked, self._person, self._now = asked, person, now
        self._places = [(shard, item_id) for shard, ids in asked.by_shard(chosen) for item_id in ids]
        self._at = 0
        self._from_line = 0
        self._room = _LEAST_TEXT_LINES
        self._shows_labels = False
        self._message = ""
        self._others = {item_id for item_id in chosen if item_id not in asked.answers.by_item}
        self._shard: tuple[int, dict[str, Waiting]] = (-1, {})
        self.kept = 0

    @property
    def _item_id(self) -> str | None:
        """None behind the last one."""
        return self._places[self._at][1] if self._at < len(self._places) else None

    @property
    def _answer(self) -> Answer | None:
        return self._asked.answers.by_item.get(self._item_id or "")

    def press(self, key: str) -> bool:
        """Do what a key asks for; False where it ends the screen."""
        if key in (_QUIT, END):
            return False
        self._message = ""
        if key == _HELP:
            self._shows_labels, self._from_line = not self._shows_labels, 0
        elif key == DOWN:
            self._from_line += self._room
        elif key == UP:
            self._from_line = max(0, self._from_line - self._room)
        elif key == _BACK:
            self._go(max(0, self._at - 1))
        elif self._item_id is None:
            self._message = "no such key"
        elif key == _SKIP:
            self._go(self._at + 1)
        elif key in LABEL_KEYS[: len(self._asked.labels)]:
            self._give(self._asked.labels[LABEL_KEYS.index(key)])
        else:
            self._message = "no such key"
        return True

    def _go(self, place: int) -> None:
        """To a place; forward, past what others have answered meanwhile."""
        is_forward = place > self._at
        self._asked.answers.read()
        while is_forward and place < len(self._places):
            answer = self._asked.answers.by_item.get(self._places[place][1])
            if answer is None or answer.person == self._person or self._places[place][1] not in self._others:
                break
            place += 1
        self._at, self._from_line, self._shows_labels = place, 0, False

    def _give(self, label: str) -> None:
        item_id, shown = self._item_id, self._answer
        assert item_id is not None
        replaced = shown.answer if shown else None
        answer = Answer(item_id, label, self._person, self._now(), "screen", replaces=replaced)
        taken = self._asked.answers.give([answer])
        if taken.refused:
            there = self._answer
            said = f"{there.person} has answered '{there.answer}' meanwhile" if there else "it was answered meanwhile"
            self._message = f"{said}; the same key again changes it"
            return
        self.kept += taken.kept
        self._go(self._at + 1)
        self._message = f"kept: {label}"

    # What is shown

    def lines(self, width: int, height: int) -> list[Text]:
        """What is on the screen: as many lines as there are, or fewer."""
        item = self._waiting()
        answered = sum(item_id in self._asked.answers.by_item for _, item_id in self._places)
        top = [_cut(f"item {min(self._at + 1, len(self._places))} of {len(self._places)}   {answered} answered", width)]
        if item is None:
            last = "That was the last item. What was skipped is asked again next time."
            return [*top, Text(), *_wrapped(last, width), Text(), *self._bottom(width)]
        top += [_cut(printable_line(item.document_id), width, "bold")]
        about = 2 if height >= _ROOMY else 0  # lines of each; a small screen has room for the text and the keys
        top += _wrapped(printable_line(f"why: {item.reason or 'nobody was sure'}"), width)[:about]
        labels = self._label_lines(width, height)
        said = _wrapped(printable_line(f"engine: {item.engine_says or 'has said nothing of it'}"), width)[:about]
        if answer := self._answer:
            told = f"answered: {answer.answer}, by {answer.person} on {answer.answered_at:%Y-%m-%d %H:%M} UTC"
            said += _wrapped(printable_line(told), width)[:2]
        below = [*said, *labels, *self._bottom(width)]
        self._room = max(_LEAST_TEXT_LINES, height - len(top) - len(below) - 2)  # two rules
        body = self._label_page(width) if self._shows_labels else _body(item, width)
        self._from_line = min(self._from_line, max(0, len(body) - 1))
        shown = body[self._from_line : self._from_line + self._room]
        # The keys stay where they are, however short a text is.
        empty = [Text()] * (self._room - len(shown))
        lines = [
            *top,
            _rule("", width),
            *map(Text, shown),
            *empty,
            _rule(self._position(len(body), len(shown)), width),
            *below,
        ]
        return lines[:height]

    def _waiting(self) -> Waiting | None:
        if self._item_id is None:
            return None
        shard = self._places[self._at][0]
        if self._shard[0] != shard:
            own = [item_id for other, item_id in self._places if other == shard]
            self._shard = shard, {item.item_id: item for item in self._asked.items(shard, own)}
        return self._shard[1][self._item_id]

    def _position(self, all_lines: int, shown: int) -> str:
        if all_lines <= self._room:
            return ""
        return f" lines {self._from_line + 1}-{self._from_line + shown} of {all_lines}: space, arrows "

    def _label_lines(self, width: int, height: int) -> list[Text]:
        """The keys of the labels, side by side; no more than a third of the screen."""
        cells = [f"{key} {printable_line(name)}" for key, name in zip(LABEL_KEYS, self._asked.labels, strict=False)]
        lines, most = _side_by_side(cells, width), max(2, height // 3)
        if len(lines) > most:
            lines = [*lines[: most - 1], f"… {_HELP} shows all {len(cells)} labels"]
        return [_cut(line, width, "cyan") for line in lines]

    def _label_page(self, width: int) -> list[str]:
        told = [
            f"{key} {name}: {about}" if about else f"{key} {name}"
            for key, (name, about) in zip(LABEL_KEYS, self._asked.job.labels.items(), strict=False)
        ]
        return [line.plain for each in told for line in _wrapped(printable_line(each), width)]

    def _bottom(self, width: int) -> list[Text]:
        keys = [f"{_BACK} back", f"{_QUIT} quit"]
        keys = keys if self._item_id is None else [f"{_SKIP} skip", *keys, f"{_HELP} labels"]
        lines = [_cut(line, width, "dim") for line in _side_by_side(keys, width)]
        return [_cut(printable_line(self._message), width, "green"), *lines]


@lru_cache(maxsize=4)
def _body(item: Waiting, width: int) -> list[str]:
    text = item.text[:_MOST_CHARACTERS].replace("\r\n", "\n").expandtabs(4)
    lines = [printable_line(each) for each in item.findings]
    lines += ["", *printable(text).split("\n")] if lines else printable(text).split("\n")
    if len(item.text) > _MOST_CHARACTERS:
        lines.append(f"[{len(item.text) - _MOST_CHARACTERS:,} more characters: --export writes them]")
    return [part.plain for line in lines for part in _wrapped(line, width)]


def _wrapped(line: str, width: int) -> list[Text]:
    if cell_len(line) <= width:
        return [Text(line)]
    return list(Text(line).wrap(Console(width=width), width))


def _cut(line: str, width: int, style: str = "") -> Text:
    return Text(line if cell_len(line) <= width else f"{set_cell_size(line, width - 1)}…", style)


def _rule(words: str, width: int) -> Text:
    words = words if cell_len(words) <= width else ""
    return Text(f"──{words}" + "─" * (width - 2 - cell_len(words)), "dim")


def _side_by_side(cells: list[str], width: int) -> list[str]:
    lines = [""]
    for cell in cells:
        longer = f"{lines[-1]}   {cell}" if lines[-1] else cell
        if cell_len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(cell)
    return lines
