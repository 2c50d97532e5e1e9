"""What a code review reads, by its job's section: which sources there are, and the documents in them.

A git repository is one source whose version is the commits that the job's revisions stand for: the run reads those,
whatever is committed meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pipelines.documents.code.reading.diffs import show_diff
from pipelines.documents.code.reading.folder import read_folder
from pipelines.documents.code.reading.git_commits import read_commits
from pipelines.documents.code.reading.git_repository import pin_revisions, read_tree
from pipelines.documents.code.records import LeftOut
from pipelines.documents.readers.readers import DIFF_READERS, read_documents
from pipelines.documents.records import Document, Listing, RowColumns, SourceFile
from pipelines.documents.sources.own_places import NOWHERE, OwnPlaces
from pipelines.documents.sources.sources import list_input, read_ahead
from pipelines.job.sections import Review
from pipelines.tasks.code_review.labelled_faults import LabelledFaults


def list_code(location: str, review: Review, own: OwnPlaces = NOWHERE) -> Listing:
    """The sources at a location, and what is left out of them: of a tree, reading it tells that.

    Raises:
        NoInputError: nothing is there.
        JobError: it cannot be listed, or there are no such revisions.
        StoreError: S3 cannot be reached.
    """
    revisions = review.revisions or review.revision
    if revisions is None:
        found = list_input(location, own)
        return Listing(found.sources, []) if review.tree else found
    root, pinned = pin_revisions(location, revisions)
    return Listing([SourceFile(uri=root, path="", size_bytes=_stored_bytes(root), version=pinned)], [])


def is_pinned(review: Review) -> bool:
    """Whether the sources of a run must be kept: names of revisions move, the commits they stood for stay."""
    return (review.revisions or review.revision) is not None


def read_code(
    location: str,
    sources: Iterable[SourceFile],
    review: Review,
    columns: RowColumns,
    max_document_bytes: int,
    own: OwnPlaces = NOWHERE,
) -> Iterator[Document | LeftOut]:
    """Streams what is to be reviewed as shown text, and what is left out by rule.

    Raises:
        JobError: the repository or folder is gone.
        StoreError: reading fails for a reason that is no document's fault.
    """
    if review.revisions:
        for source in sources:
            yield from read_commits(source.uri, source.version, review.unit, max_document_bytes)
    elif review.revision:
        for source in sources:
            yield from read_tree(source.uri, source.version, max_document_bytes)
    elif review.tree:
        yield from read_folder(location, max_document_bytes, own)
    else:
        for source in read_ahead(sources):
            for document in read_documents(source, columns, max_document_bytes, DIFF_READERS):
                yield from show_diff(document)


def with_verdicts(found: Iterable[Document | LeftOut], labelled: LabelledFaults) -> Iterator[Document | LeftOut]:
    """The documents, each with the verdict that is known of it; for measuring only."""
    for each in found:
        if isinstance(each, Document):
            yield replace(each, gold_label=labelled.verdict_of(each.document_id))
        else:
            yield each


def _stored_bytes(root: str) -> int:
    """About how large a repository is: what its files take."""
    folders = os.walk(root)
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in folders for name in names)
