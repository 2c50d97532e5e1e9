"""Which keys obstore takes, held against the library itself; and the listing of those that it doesn't."""

from __future__ import annotations

from pathlib import Path

import obstore
import pytest
from hypothesis import given, strategies
from obstore.store import LocalStore, MemoryStore

from pipelines.errors import StoreError
from pipelines.store import s3_any_name
from pipelines.store.mutable import MutableStore
from pipelines.store.objects import Store
from tests.s3_fixtures import Bucket

_LETTERS = strategies.sampled_from('a./\\ %~#?*\x00\x1b\x7f\x80\u2028é\n[{^|<>`"')


@given(strategies.text(_LETTERS, min_size=1, max_size=6))
def test_it_is_known_which_keys_the_library_takes_as_they_are(key: str) -> None:
    store = MemoryStore()
    try:
        obstore.put(store, key, b"1")
        taken = [entry["path"] for batch in obstore.list(store) for entry in batch] == [key]
    except ValueError:
        taken = False
    assert s3_any_name.is_usable(key) == taken


def test_a_listing_goes_on_behind_what_was_given_before_the_key_that_is_not_taken(s3: Bucket) -> None:
    """Pages have a thousand keys."""
    names = sorted(["sub/k//x", *(f"sub/k{number:04}" for number in range(1_100)), "sub/kz//y", "sub/zz"])
    for name in names:
        s3.put(name, b"1")
    store = MutableStore(s3.uri)
    assert [entry.key for entry in store.entries("sub")] == names
    below = MutableStore(f"{s3.uri}/sub")
    assert next(iter(below.entries(""))).key == "k//x"
    found = below.entry("kz//y")
    assert found and (found.key, found.size_bytes) == ("kz//y", 1)
    assert below.entry("kz//x") is None


def test_runs_are_found_beside_a_strangers_folder(s3: Bucket) -> None:
    for name in ("out/run_1/run.json", "out/run_2/run.json", "out//x", "out/a\x1b/x", "out/note"):
        s3.put(name, b"1")
    assert sorted(Store(f"{s3.uri}/out").folders()) == ["run_1", "run_2"]


def test_a_bucket_that_is_gone_is_told(s3: Bucket) -> None:
    with pytest.raises(StoreError, match=r"cannot list 's3://nobody-has-this/a': .*NoSuchBucket"):
        list(s3_any_name.entries("nobody-has-this", "a"))


def test_a_local_folder_is_listed_by_the_library_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    assert LocalStore(tmp_path) and [entry.key for entry in MutableStore(str(tmp_path)).entries("")] == ["a"]
