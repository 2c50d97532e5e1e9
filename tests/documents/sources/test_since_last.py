"""Kept lists of files, and which of today's files are new."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.records import SourceFile
from pipelines.documents.sources.since_last import TAKEN, merge_taken, not_taken, sources_of, sources_table, taken_of
from pipelines.store.schemas import from_arrow, to_arrow


def file(name: str, version: str = "1") -> SourceFile:
    return SourceFile(uri=f"s3://inbox/{name}", path=name, size_bytes=len(name), version=version)


files = st.lists(st.builds(file, st.text(min_size=1, max_size=3), st.sampled_from("12")), unique=True, max_size=12)


@given(files)
def test_a_list_comes_back_as_it_was(sources: list[SourceFile]) -> None:
    assert sources_of(from_arrow(to_arrow(sources_table(sources)))) == sources


@given(files, st.lists(files, max_size=4))
def test_new_is_what_no_list_holds_in_this_version(present: list[SourceFile], earlier: list[list[SourceFile]]) -> None:
    taken = merge_taken(taken_of(sources_table(sources)) for sources in earlier)
    assert not_taken(present, taken) == [
        source for source in present if not any(source in sources for sources in earlier)
    ]


@given(st.lists(files, max_size=4))
def test_the_union_does_not_depend_on_the_order(earlier: list[list[SourceFile]]) -> None:
    tables = [taken_of(sources_table(sources)) for sources in earlier]
    assert merge_taken(tables) == merge_taken(reversed(tables)) == merge_taken([merge_taken(tables), *tables])


def test_late_and_changed_files_are_new_and_an_older_version_is_not() -> None:
    taken = taken_of(sources_table([file("a"), file("b"), file("b", "2")]))
    present = [file("a"), file("b"), file("c"), file("late", "1999"), file("a", "2")]
    assert not_taken(present, taken) == [file("c"), file("late", "1999"), file("a", "2")]
    assert not_taken(present, TAKEN.empty_table()) == present
    assert not_taken([], taken) == []
