"""An input whose files are too many to be told by their content, and whose times alone have changed.

A modification time stands for the content there, so a `touch`, a copy or a checkout makes another input of it, and all
would be asked and paid for again. The names and sizes of a run's input, with its job, are therefore written down beside
the runs: a submit that finds them again under other times is refused, with both ways to go on.

One small object per input under ``<output>/_inputs/`` and one look: it holds for ten million files, which reading them
or remembering a hash of each would not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from pipelines.documents.records import SourceFile
from pipelines.documents.sources.sources import content_of
from pipelines.errors import JobError
from pipelines.store import layout
from pipelines.store.objects import Store

# Read in about a second, before each run and once more when it is planned.
_HASHED_BYTES, _HASHED_FILES = 512 * 1024 * 1024, 10_000


def input_fingerprint(sources: list[SourceFile]) -> str:
    """Changes when a file is added, removed, or has changed: by content while reading it all again is cheap.

    Beyond that, a modification time stands for the content: ten million files are not read to name a run.
    """
    if not is_known_by_content(sources):
        return fingerprint_of_versions(sources)
    return _digest_of(f"{source.path}\x00{content_of(source)}\x00" for source in sources)


def fingerprint_of_versions(sources: list[SourceFile]) -> str:
    """The same by version alone: the time of a file, or what S3 calls it."""
    return _digest_of(f"{source.path}\x00{source.version}\x00" for source in sources)


def is_known_by_content(sources: list[SourceFile]) -> bool:
    """Whether the input is small enough to be told by what it holds."""
    return len(sources) <= _HASHED_FILES and sum(source.size_bytes for source in sources) <= _HASHED_BYTES


def _digest_of(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
    return digest.hexdigest()[:16]


def outline_of(sources: Sequence[SourceFile]) -> str | None:
    """What stays the same when only times change; None where no times are looked at, as on S3."""
    if all(source.uri.startswith("s3://") for source in sources):
        return None
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source.path}\x00{source.size_bytes}\x00{source.problem or ''}\x00".encode())
    return digest.hexdigest()[:16]


def refuse_touched(output: str, asked: Sequence[object], run_id: str) -> None:
    """Refuse a new run where one of the same job over files of the same names and sizes has begun.

    Args:
        output: of the job.
        asked: all that makes two runs the same but for the files' times.
        run_id: the run that would begin.

    Raises:
        JobError: there is such a run.
    """
    store = Store(output)
    key = layout.input_of_run(hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32])
    store.create(key, json.dumps({"run_id": run_id}).encode())
    earlier = str(json.loads(store.read(key))["run_id"])
    if earlier == run_id or store.exists(f"{run_id}/{layout.RUN}") or not store.exists(f"{earlier}/{layout.RUN}"):
        return
    raise JobError(
        [
            f"input: its files have the names and sizes that they had in run {earlier}, and only their times differ; "
            f"`--run-id {earlier}` goes on with that run, `--run-id` with a new name asks and pays for everything anew"
        ]
    )
