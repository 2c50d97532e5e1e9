"""What the columns of a table are likely to be, by its first rows: the text, the id, the label.

In: rows as mappings. Out: a `Guess`, with what is doubtful about it. Knows nothing of files and of jobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.documents.gold import gold_text
from pipelines.tasks.label_names import label_key

MOST_LABELS = 128  # of the first rows; more are likely to be names, or to have more beside them
_LONGEST_LABEL, _LONGEST_ID = 80, 100
_LEAST_ROWS = 10  # of fewer, that something comes again, or does not, says little
_SHORT_TEXT = 15
_CLOSE = 0.5  # another column with texts of half the length might be the text, or a part of it
_TEXT_NAMES = {"text", "body", "content", "document", "message"}
_ID_NAMES = {"id", "uuid", "guid", "key", "document_id", "doc_id", "item_id", "ticket_id"}
_LABEL_NAMES = {"label", "labels", "category", "class", "topic", "intent", "gold", "gold_label", "target", "type"}


@dataclass(frozen=True)
class Guess:
    """Columns by what they hold; ``doubts`` has, by "text", "id" and "label", why to look again."""

    columns: tuple[str, ...]
    text: str
    texts: tuple[str, ...]  # all that could be it, the likeliest first
    mean_characters: float
    id: str | None
    label: str | None
    labels: tuple[str, ...]  # all columns that could hold the label
    doubts: Mapping[str, str] = field(default_factory=dict)
    too_many: tuple[str, int] | None = None  # a column that is named like a label, and its number of values


def guess_columns(rows: Sequence[Mapping[str, object]]) -> Guess | None:
    """What is what; None where no column holds text."""
    columns = tuple(dict.fromkeys(name for row in rows for name in row if _can_be_named(name)))
    lengths = {name: _mean_characters(rows, name) for name in columns}
    texts = sorted((name for name in columns if lengths[name]), key=lambda name: -lengths[name])
    if not texts:
        return None
    doubts: dict[str, str] = {}
    text = _text_of(texts, lengths, doubts)
    document_id = _id_of(rows, [name for name in columns if name != text], doubts)
    rest = [name for name in columns if name not in (text, document_id)]
    labels = _labels_of(rows, rest)
    label = labels[0] if labels else None
    if label and (len(labels) > 1 and label.casefold() not in _LABEL_NAMES):
        doubts["label"] = f"{len(labels)} columns hold few values that come again"
    elif label and label.casefold() not in _LABEL_NAMES:
        doubts["label"] = "by its values alone: few, which come again"
    crowded = ((name, len(count_labels(rows, name))) for name in rest if name.casefold() in _LABEL_NAMES)
    return Guess(
        columns=columns,
        text=text,
        texts=(text, *(name for name in texts if name != text)),
        mean_characters=lengths[text],
        id=document_id,
        label=label,
        labels=tuple(labels),
        doubts=doubts,
        too_many=next(((name, count) for name, count in crowded if count > MOST_LABELS), None),
    )


def count_labels(rows: Sequence[Mapping[str, object]], column: str) -> Counter[str]:
    """How often each value of a column stands in the rows, spelled as most often; what no label can be is left out."""
    spelled: dict[str, Counter[str]] = {}
    for row in rows:
        given = row.get(column)
        # A column of whole numbers becomes floating where one is missing; its reader knows.
        value = gold_text(int(given) if isinstance(given, float) and given.is_integer() else given)
        if value is not None and _can_be_label(value):
            spelled.setdefault(label_key(value), Counter())[value] += 1
    return Counter({spellings.most_common(1)[0][0]: spellings.total() for spellings in spelled.values()})


def _can_be_named(name: str) -> bool:
    """Whether a job can name the column: it holds no zero and no half character."""
    return bool(name) and not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in name)


def _can_be_label(value: str) -> bool:
    # What cannot be printed has no business in a prompt.
    return bool(label_key(value)) and len(value) <= _LONGEST_LABEL and value.replace("\xa0", " ").isprintable()


def _mean_characters(rows: Sequence[Mapping[str, object]], name: str) -> float:
    """Of a column that holds text in at least half of the rows; else 0."""
    values = [value for row in rows if isinstance(value := row.get(name), str) and value.strip()]
    are_numbers = all(value.strip().replace(".", "", 1).lstrip("-").isdecimal() for value in values)
    if are_numbers or len(values) * 2 < len(rows):
        return 0.0
    return sum(map(len, values)) / len(values)


def _text_of(texts: Sequence[str], lengths: Mapping[str, float], doubts: dict[str, str]) -> str:
    longest = texts[0]
    close = [name for name in texts if lengths[name] >= _CLOSE * lengths[longest]]
    named = [name for name in close if name.casefold() in _TEXT_NAMES]
    if len(named) == 1:
        return named[0]
    if len(close) > 1:
        doubts["text"] = f"{len(close)} columns hold texts of about that length"
    elif lengths[longest] < _SHORT_TEXT:
        doubts["text"] = "short for a document"
    return longest


def _id_of(rows: Sequence[Mapping[str, object]], columns: Sequence[str], doubts: dict[str, str]) -> str | None:
    unique = [name for name in columns if _is_unique(rows, name)]
    named = [name for name in unique if name.casefold() in _ID_NAMES]
    named += [name for name in unique if name not in named and name.casefold().endswith(("_id", " id", "-id"))]
    if named:
        return named[0]
    if unique and len(rows) >= _LEAST_ROWS:
        doubts["id"] = "by its values alone: short, and all different"
        return unique[0]
    return None


def _is_unique(rows: Sequence[Mapping[str, object]], name: str) -> bool:
    values = [row.get(name) for row in rows]
    texts = {str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)}
    return len(texts) == len(rows) and all(value and len(value) <= _LONGEST_ID and "\n" not in value for value in texts)


def _labels_of(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> list[str]:
    """The columns that may hold labels, the likeliest first."""
    found = []
    for place, name in enumerate(columns):
        values = [row.get(name) for row in rows if row.get(name) not in (None, "")]
        counts = count_labels(rows, name)
        is_named = name.casefold() in _LABEL_NAMES
        repeats = len(counts) < len(values) if is_named else _LEAST_ROWS <= len(values) >= 2 * len(counts)
        usable = sum(counts.values()) * 10 >= len(values) * 9  # a few may be broken
        is_fraction = any(isinstance(value, float) and not value.is_integer() for value in values)
        if 2 <= len(counts) <= MOST_LABELS and repeats and usable and not is_fraction:
            are_numbers = all(label.lstrip("-").replace(".", "", 1).isdecimal() for label in counts)
            found.append((not is_named, are_numbers, place, name))
    return [name for *_, name in sorted(found)]
