"""The store's one promise: an object is there whole, once, or not at all."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from pipelines.errors import StoreError
from pipelines.store.objects import Store
from pipelines.store.schemas import RESULTS, to_parquet

RACERS = 16


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "run"))


def test_what_is_created_can_be_read_found_and_listed(store: Store) -> None:
    assert store.create("plan/part-00000.arrow", b"rows") is True
    assert store.create("plan/part-00001.arrow", b"") is True
    assert store.read("plan/part-00000.arrow") == b"rows"
    assert store.read_if_exists("plan/part-00001.arrow") == b""
    assert store.exists("plan/part-00000.arrow")
    assert sorted(store.list("plan")) == ["plan/part-00000.arrow", "plan/part-00001.arrow"]


def test_what_is_not_there_is_said_to_be_missing(store: Store) -> None:
    assert not store.exists("run.json")
    assert store.read_if_exists("run.json") is None
    assert list(store.list("plan")) == []
    with pytest.raises(StoreError) as caught:
        store.read("run.json")
    assert str(caught.value) == (
        f"'{store.root}/run.json' is missing; was it deleted? Start a new run with another --run-id"
    )


def test_a_folder_is_no_object_and_listing_stays_within_it(store: Store) -> None:
    store.create("results/a", b"1")
    store.create("results-old/b", b"2")
    assert not store.exists("results")
    assert list(store.list("results")) == ["results/a"]


def test_the_same_bytes_again_are_ours_and_other_bytes_are_not(store: Store) -> None:
    assert store.create("key", b"mine")
    assert store.create("key", b"mine") is True  # the reply to the first create was lost
    assert store.create("key", b"other") is False
    assert store.read("key") == b"mine"


def race(store: Store, data: Callable[[int], bytes]) -> list[bool]:
    start = threading.Barrier(RACERS)

    def create(racer: int) -> bool:
        start.wait()
        return store.create("deep/folder/key", data(racer))

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(create, range(RACERS)))


def test_of_racing_threads_exactly_one_wins(store: Store) -> None:
    won = race(store, lambda racer: bytes([racer]) * 10_000)
    assert won.count(True) == 1
    assert store.read("deep/folder/key") == bytes([won.index(True)]) * 10_000


def test_racing_threads_with_the_same_bytes_all_win(store: Store) -> None:
    assert all(race(store, lambda racer: b"the same"))


WRITER = """
import sys
from pipelines.store.objects import Store
store, data = Store(sys.argv[1]), b"x" * (48 << 20)
print("writing", flush=True)
for number in range(1000):
    store.create(f"results/part-{number}", data)
"""


@pytest.mark.parametrize("delay_seconds", [0.0, 0.02, 0.05])
def test_a_killed_writer_leaves_whole_objects_and_staging_only(tmp_path: Path, delay_seconds: float) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    threading.Event().wait(delay_seconds)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()

    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    whole = [path for path in left if path.parts[0] != "_staging"]
    assert {(tmp_path / path).stat().st_size for path in whole} <= {48 << 20}
    store = Store(str(tmp_path))
    assert sorted(store.list("results")) == sorted(map(str, whole))

    store.clear_staging()
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()} == set(whole)
    assert not (tmp_path / "_staging").exists()


def test_clearing_removes_the_half_written_files_that_obstore_does_not_list(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("run.json", b"{}")
    staging = tmp_path / "_staging"
    staging.mkdir(exist_ok=True)
    (staging / "0123#1").write_bytes(b"half")  # what a kill within a put leaves
    (staging / "4567").write_bytes(b"whole, not yet linked")
    store.clear_staging()
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    store.clear_staging()  # nothing to clear is fine
    assert store.create("again", b"1")


def test_half_written_results_do_not_break_reading_the_data_set(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("results/part-00000-scored.parquet", to_parquet(RESULTS.empty_table()))
    (tmp_path / "_staging" / "0123").write_bytes(b"half")
    assert ds.dataset(str(tmp_path), format="parquet").to_table().num_rows == 0


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StoreError) as caught:
        Store(f"{tmp_path}/out")
    assert str(caught.value) == f"cannot open the store '{tmp_path}/out': File exists (os error 17)"


def test_a_root_that_cannot_be_written() -> None:
    with pytest.raises(StoreError) as caught:
        Store("/proc/sluice/run")
    assert str(caught.value) == "cannot open the store '/proc/sluice/run': No such file or directory (os error 2)"


def test_a_scheme_nobody_knows() -> None:
    with pytest.raises(StoreError, match="cannot open the store 'gopher://a/b': "):
        Store("gopher://a/b")


def test_an_object_where_a_folder_is_needed(store: Store) -> None:
    store.create("results", b"")
    with pytest.raises(StoreError, match=f"^cannot write '{store.root}/results/part': "):
        store.create("results/part", b"1")


def test_a_root_may_be_a_path_or_a_file_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Store("run/").create("a", b"1")
    assert Store(f"file://{tmp_path}/run").read("a") == b"1"
    assert Store("run").uri("a") == f"{tmp_path}/run/a"
