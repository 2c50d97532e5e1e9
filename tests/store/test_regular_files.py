"""Files that a job names: pipes, devices and giants are refused at once, wherever a path is opened."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.documents.gold import read_gold_file
from pipelines.errors import JobError
from pipelines.job.job_file import load_job
from pipelines.job.sections import ModelSource
from pipelines.store.regular_files import MAX_JOB_FILE_BYTES, MAX_TABLE_BYTES, open_regular, read_regular
from pipelines.tasks.code_review.labelled_faults import read_labelled_faults
from workers.engines.catalogue import resolve_model


def a_pipe(path: Path) -> str:
    os.mkfifo(path)
    return "not a regular file"


def a_device(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "not a regular file"


def a_giant(path: Path) -> str:
    with path.open("wb") as file:
        file.truncate(MAX_TABLE_BYTES + 1)
    return "bytes, where"


OPENERS: dict[str, Callable[[Path], object]] = {
    "job file": load_job,
    "gold file": lambda path: read_gold_file(str(path), ["billing"]),
    "faults file": lambda path: read_labelled_faults(str(path)),
}


@pytest.mark.parametrize("make", [a_pipe, a_device, a_giant])
@pytest.mark.parametrize("opener", OPENERS)
def test_what_a_job_names_is_refused_unless_it_is_a_regular_file(
    tmp_path: Path, make: Callable[[Path], str], opener: str
) -> None:
    path = tmp_path / "named.csv"
    reason = make(path)
    with pytest.raises(JobError, match=reason):
        OPENERS[opener](path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "chat_template.jinja", "templates/a.jinja"])
@pytest.mark.parametrize("make", [a_pipe, a_device])
def test_a_model_folder_that_holds_a_pipe_or_a_device_is_refused(
    tmp_path: Path, make: Callable[[Path], str], name: str
) -> None:
    (tmp_path / "templates").mkdir()
    make(tmp_path / name)
    with pytest.raises(JobError, match=f"model: .*{name} cannot be read .not a regular file"):
        resolve_model(ModelSource(source=str(tmp_path)))


def test_a_name_that_no_file_can_have_is_an_error_of_opening(tmp_path: Path) -> None:
    for name in ("a\0b", "x" * 300, "\ud800"):
        with pytest.raises(OSError, match=r".+"):
            open_regular(f"{tmp_path}/{name}")
        with pytest.raises(JobError, match="cannot be read"):
            load_job(f"{tmp_path}/{name}")


def test_a_file_that_holds_more_than_it_says_is_read_no_further_than_the_limit() -> None:
    assert os.stat("/proc/self/maps").st_size == 0
    with pytest.raises(OSError, match=r"more than 10 bytes"):
        read_regular("/proc/self/maps", 10)


def test_a_file_up_to_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * MAX_JOB_FILE_BYTES)
    assert len(read_regular(tmp_path / "a", MAX_JOB_FILE_BYTES)) == MAX_JOB_FILE_BYTES
