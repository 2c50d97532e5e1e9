"""What is particular to a store in a local folder: half-written files, and folders that cannot be used."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from pipelines.errors import StoreError
from pipelines.store.objects import Store
from pipelines.store.schemas import RESULTS, to_parquet

WRITER = """
import sys
from pipelines.store.objects import Store
store, data = Store(sys.argv[1]), b"x" * (48 << 20)
print("writing", flush=True)
for number in range(1000):
    store.create(f"results/part-{number}", data)
"""


@pytest.mark.processes
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
    with pytest.raises(StoreError) as caught:
        Store("gopher://a/b")
    assert str(caught.value) == (
        "cannot open the store 'gopher://a/b': it is of an unknown kind; give a folder or an s3:// URI"
    )


def test_an_object_where_a_folder_is_needed(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("results", b"")
    with pytest.raises(StoreError, match=f"^cannot write '{store.root}/results/part': "):
        store.create("results/part", b"1")


def test_a_pipe_in_the_place_of_an_object_is_not_waited_for(tmp_path: Path) -> None:
    """Claims of a local drop folder lie where others write."""
    store = Store(str(tmp_path))
    os.mkfifo(tmp_path / "claim")
    for look in (store.exists, store.read_if_exists, store.read, lambda key: store.create(key, b"mine")):
        with pytest.raises(StoreError, match="not a regular file"):
            look("claim")


def test_a_folder_is_no_object(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("results/part-0", b"rows")
    assert not store.exists("results")
    assert store.read_if_exists("results") is None


def test_a_root_may_be_a_path_or_a_file_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Store("run/").create("a", b"1")
    assert Store(f"file://{tmp_path}/run").read("a") == b"1"
    assert Store("run").uri("a") == f"{tmp_path}/run/a"
