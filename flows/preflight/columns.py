"""A look at the columns of a job's input before anything is started: the head of some files of each kind.

A column that no file has is a mistake of the job, and refused; a file that lacks it among others that have it is told,
and its rows say it again. Of each kind of file (by suffix) at most `MOST_FILES` are looked at, spread over the listing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipelines.cascade.policy import EscalationPolicy
from pipelines.documents.gold import gold_text, shown_gold
from pipelines.documents.readers.delimited.dialects import DELIMITERS
from pipelines.documents.readers.heads import Head, read_head, row_suffix
from pipelines.documents.readers.readers import WORKBOOKS
from pipelines.documents.records import SourceFile
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.sections import Columns
from pipelines.meant import closest

MOST_FILES = 20
_AT_ONCE = 8
_SHOWN_KINDS = 3
_WHOLE_DOCUMENTS = (".txt", ".md", ".html", ".htm", ".eml", ".diff", ".patch", ".mbox")


@dataclass(frozen=True)
class _Wanted:
    """A column that the job names; ``without`` is what becomes of a row that lacks it."""

    field: str
    name: str
    without: str


def check_columns(job: Job, sources: Sequence[SourceFile]) -> list[str]:
    """Look whether the columns that the job names are there.

    Returns:
        What the user should know, and the run survives.

    Raises:
        JobError: with every column that no file has.
        StoreError: the store does not answer.
    """
    if job.review and (job.review.revisions or job.review.tree):
        return []
    files = [source for source in sources if row_suffix(source.path)]
    wanted = list(_wanted(job))
    if not files:
        _refuse_workbooks(sources)
        return _without_rows(job, sources, wanted)
    chosen = _spread(files)
    columns = job.row_columns()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="heads") as pool:
        heads = [head for head in pool.map(lambda source: read_head(source, columns), chosen) if head]
    if not heads:
        return []
    problems: list[str] = []
    notes: list[str] = []
    # In a folder of documents that are whole files, a table or two may lie about: no mistake of the job.
    is_aside = _whole_bytes(sources) > sum(source.size_bytes for source in files)
    looked = "" if len(chosen) == len(files) else f" ({len(chosen):,} of {len(files):,} files were looked at)"
    for each in wanted:
        lacking = [head for head in heads if each.name not in head.columns]
        if len(lacking) == len(heads) and not is_aside:
            problems += [f"{problem}{looked}" for problem in _nowhere(each, lacking)]
        elif lacking:
            notes.append(_somewhere(each, lacking, len(heads)))
    if isinstance(columns.text, str):
        problems += _not_text(columns.text, heads)
    notes += _guessed_charsets(heads)
    if strangers := _only_strangers(job, heads):
        (problems if job.escalation and job.escalation.provider == "simulation" else notes).append(strangers)
    if problems:
        raise JobError(problems)
    return notes


def _refuse_workbooks(sources: Sequence[SourceFile]) -> None:
    """Where all there is are spreadsheets, every row would fail.

    Raises:
        JobError: so it is.
    """
    told = [WORKBOOKS.get(PurePosixPath(source.path.lower()).suffix) for source in sources]
    if sources and all(told):
        more = f" (and {len(told) - 1:,} more such files)" if len(told) > 1 else ""
        raise JobError([f"input: {sources[0].path} {told[0]}{more}"])


def _wanted(job: Job) -> Iterator[_Wanted]:
    columns = job.row_columns()
    without = "its rows fail" if len(columns.text_names) == 1 else "rows of a table that has not all of them fail"
    for name in columns.text_names:
        yield _Wanted("columns.text", name, without)
    if job.columns.id != Columns().id:  # by default, an id that is not there becomes path:line
        for name in columns.id_names:
            yield _Wanted("columns.id", name, "its rows get path:line for an id")
    for name in columns.carried:
        yield _Wanted("columns.carry", name, "it is empty in its rows")
    for name in job.gold_columns:
        yield _Wanted("evaluation.gold_column", name, "its rows have no known answer")
    if job.policy.never_escalate:
        for name in sorted(EscalationPolicy.parse(job.policy.never_escalate).columns):
            yield _Wanted("policy.never_escalate", name, "its rows are never sent to Claude")


def _without_rows(job: Job, sources: Sequence[SourceFile], wanted: Sequence[_Wanted]) -> list[str]:
    """Of an input that has no columns at all: documents that are whole files."""
    whole = sum(_is_document(source) for source in sources)
    notes = []
    for each in wanted:
        told = f"{each.field}: {whole:,} documents are whole files, which have no column {each.name!r}"
        if not whole or each.field in ("columns.text", "columns.id"):
            continue
        if each.field == "evaluation.gold_column" and job.escalation and job.escalation.provider == "simulation":
            raise JobError([f"{told}: the simulation would know no answer; give evaluation.gold_file"])
        rest = "give evaluation.gold_file" if "gold" in each.field else "none of them is ever sent to Claude"
        notes.append(f"{told}; {rest}")
    return notes


def _spread(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Some of each kind, the first and the last among them."""
    by_kind: dict[str | None, list[SourceFile]] = {}
    for source in files:
        by_kind.setdefault(row_suffix(source.path), []).append(source)
    chosen = []
    for kind in by_kind.values():
        step = max(len(kind) - 1, 1) / (MOST_FILES - 1)
        places = range(len(kind)) if len(kind) <= MOST_FILES else (round(n * step) for n in range(MOST_FILES))
        chosen += [kind[place] for place in places]
    return chosen


def _is_document(source: SourceFile) -> bool:
    name = source.path.lower().removesuffix(".gz").removesuffix(".zst").removesuffix(".gzip")
    return name.endswith(_WHOLE_DOCUMENTS)


def _whole_bytes(sources: Sequence[SourceFile]) -> int:
    return sum(source.size_bytes for source in sources if _is_document(source))


def _nowhere(wanted: _Wanted, heads: Sequence[Head]) -> list[str]:
    """One problem for each set of columns that there is, with the first file that has it."""
    kinds: dict[tuple[str, ...], list[Head]] = {}
    for head in heads:
        kinds.setdefault(() if head.is_headless else head.columns, []).append(head)
    problems = []
    for alike in list(kinds.values())[:_SHOWN_KINDS]:
        more = f" (and {len(alike) - 1:,} more such files)" if len(alike) > 1 else ""
        problems.append(f"{wanted.field}: {_lacks(wanted, alike[0])}{more}")
    if len(kinds) > _SHOWN_KINDS:
        problems.append(f"{wanted.field}: and {len(kinds) - _SHOWN_KINDS:,} more kinds of columns without it")
    return problems


def _lacks(wanted: _Wanted, head: Head) -> str:
    path = head.source.path
    if head.delimiter:
        found = DELIMITERS[head.delimiter]
        return f"{path} has no column {wanted.name!r}: its first line is cut by {found}; mend csv.delimiter"
    if head.is_headless:
        return (
            f"{path} has no column {wanted.name!r}: its first line looks like data, not like names; put a line with "
            "the columns' names on top (such as id,text), or export it with its header"
        )
    which = "has no column" if head.is_whole else f"has, in its first {head.rows:,} rows, no column"
    mend = f"name the right one in {wanted.field}"
    if not head.is_whole:
        mend += ", or put a row that has it on top"
    return f"{path} {which} {wanted.name!r} (there are {head.shown_columns}); {_meant(wanted.name, head)}{mend}"


def _meant(name: str, head: Head) -> str:
    meant = closest(name, head.columns)
    return "" if meant is None else f"did you mean {meant!r}? "


def _somewhere(wanted: _Wanted, lacking: Sequence[Head], looked_at: int) -> str:
    path, others = lacking[0].source.path, len(lacking) - 1
    more = f" and {others:,} more of the {looked_at:,} files looked at" if others else ""
    return f"{wanted.field}: {path}{more} has no column {wanted.name!r}: {wanted.without}"


def _guessed_charsets(heads: Sequence[Head]) -> list[str]:
    """What to know of files that are no UTF-8 and nobody has said what they are."""
    guessed = [head for head in heads if head.guessed_encoding]
    if not guessed:
        return []
    more = f" and {len(guessed) - 1:,} more of the files looked at" if len(guessed) > 1 else ""
    return [
        f"input: {guessed[0].source.path}{more} is not UTF-8: read as {guessed[0].guessed_encoding}, by its looks; "
        "csv.encoding in the job says otherwise"
    ]


def _not_text(name: str, heads: Sequence[Head]) -> list[str]:
    """A Parquet column that is there and holds no text, in every file."""
    typed = [
        (head, head.column_types[head.columns.index(name)])
        for head in heads
        if head.column_types and name in head.columns
    ]
    if not typed or len(typed) < len(heads) or any("string" in kind for _, kind in typed):
        return []
    head, kind = typed[0]
    text = ", ".join(
        repr(column[:40])
        for column, of in zip(head.columns, head.column_types or (), strict=True)
        if of in ("string", "large_string", "string_view")
    )
    there = f"text is in {text}" if text else "no column holds text"
    return [f"columns.text: column {name!r} of {head.source.path} is {kind[:40]}, not text; {there}"]


def _only_strangers(job: Job, heads: Sequence[Head]) -> str | None:
    """What to say where known answers were found, and not one of them is a label, however it is written."""
    given = [text for head in heads for value in head.values if (text := gold_text(value))]
    labels = {label.strip().casefold() for label in job.labels}
    if not given or any(text.strip().casefold() in labels for text in given):
        return None
    assert job.evaluation is not None
    return (
        f"evaluation.gold_column: none of the {len(given):,} values of {job.evaluation.gold_column!r} looked at is a "
        f"label of the job, e.g. {shown_gold(given[0])}; name the column that holds labels, or leave evaluation out"
    )
