"""The store's one promise: an object is there whole, once, or not at all. The same tests on a folder and on S3."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import StoreError
from pipelines.store.objects import Store
from pipelines.store.schemas import to_parquet
from tests.s3_fixtures import forget_clients, fresh_bucket

REPOSITORY = Path(__file__).parents[2]
RACERS = 16


@pytest.fixture(params=["folder", "emulator", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    if request.param == "folder":
        yield Store(str(tmp_path / "run"))
    else:
        bucket = fresh_bucket(request.getfixturevalue(request.param), monkeypatch)
        yield Store(f"{bucket.uri}/tickets/run_1")
        forget_clients()


def test_what_is_created_can_be_read_found_and_listed(store: Store) -> None:
    assert store.create("plan/part-00000.arrow", b"rows") is True
    assert store.create("plan/part-00001.arrow", b"") is True
    assert store.read("plan/part-00000.arrow") == b"rows"
    assert store.read_if_exists("plan/part-00001.arrow") == b""
    assert store.exists("plan/part-00000.arrow")
    assert sorted(store.list("plan")) == ["plan/part-00000.arrow", "plan/part-00001.arrow"]


def test_a_listing_can_begin_where_another_ended_and_says_sizes_and_times(store: Store) -> None:
    for number in range(4):
        store.create(f"predictions/part-{number:05d}.arrow", b"x" * number)
    store.create("results/part-00000.parquet", b"1")
    found = list(store.listing("predictions", after="predictions/part-00001.arrow"))
    assert sorted((entry.key, entry.size_bytes) for entry in found) == [
        ("predictions/part-00002.arrow", 2),
        ("predictions/part-00003.arrow", 3),
    ]
    assert all(entry.created_at.tzinfo for entry in found)


def test_some_columns_of_a_part_are_read_without_the_rest(store: Store) -> None:
    store.create("results/part.parquet", to_parquet(pa.table({"route": ["accepted"] * 5, "text": ["x"] * 5})))
    with store.opened("results/part.parquet") as file:
        assert pq.ParquetFile(pa.PythonFile(file, mode="r")).read(["route"]).to_pydict() == {"route": ["accepted"] * 5}
    with pytest.raises(StoreError, match="is missing"), store.opened("results/other.parquet") as file:
        file.read()


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


RACER = """
import sys
from pipelines.store.objects import Store
store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    print(store.create(f"race/{number}", sys.argv[2].encode()), flush=True)
"""


def test_of_racing_processes_exactly_one_wins_each_object(store: Store) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, store.root, name],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second", "third")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    won = [racer.communicate("go\n")[0].split() for racer in racers]
    assert [outcomes.count("True") for outcomes in zip(*won, strict=True)] == [1] * 20


@pytest.mark.parametrize(
    "name", ["a b", "a+b", "100%", "a%20b", "what?", "a*b", "#1", "data[1]", "ümlaut", "日本", "~", "="]
)
def test_names_of_any_kind(store: Store, name: str) -> None:
    key = f"{name}/{name}.json"
    assert store.create(key, name.encode()) is True
    assert store.create(key, b"other") is False
    assert store.exists(key)
    assert store.read(key) == name.encode()
    assert list(store.list(name)) == [key]


# Moto takes four seconds for so many.
@pytest.mark.parametrize("store", ["folder", "emulator", pytest.param("moto", marks=pytest.mark.prove)], indirect=True)
def test_a_listing_of_more_than_a_page(store: Store) -> None:
    keys = [f"plan/part-{number:05d}.arrow" for number in range(1_050)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda key: store.create(key, b""), keys))
    assert sorted(store.list("plan")) == keys
    assert sorted(store.list("")) == keys


def test_an_object_of_many_megabytes_is_created_once(store: Store) -> None:
    data = bytes(range(256)) * 4 * 1024 * 12  # above obstore's limit for a multipart upload, which has no condition
    assert store.create("results/part", data) is True
    assert store.create("results/part", data[:-1]) is False
    assert store.read("results/part") == data


def test_another_store_on_the_same_root_sees_the_same_objects(store: Store) -> None:
    store.create("run.json", b"{}")
    assert Store(store.root + "/").read("run.json") == b"{}"
    assert store.uri("run.json") == f"{store.root}/run.json"
    store.clear_staging()
    assert list(Store(store.root).list("")) == ["run.json"]


def test_a_trial_of_writing_leaves_nothing_behind(store: Store) -> None:
    assert store.try_writing() is None
    assert list(store.list("")) == []
    if not store.root.startswith("s3://"):
        assert list(Path(store.root).iterdir()) == []


def test_folders_are_those_directly_below(store: Store) -> None:
    assert store.folders() == []
    for key in ("one/run.json", "one/plan/part.arrow", "two/run.json", "file.json"):
        store.create(key, b"x")
    assert sorted(name for name in store.folders() if not name.startswith("_")) == ["one", "two"]
