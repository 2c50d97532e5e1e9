"""What a job's runs have written on S3 is told from its input by the keys alone."""

import pytest

from pipelines.documents.sources.own_places import OwnPlaces, runs_in


@pytest.mark.parametrize(
    ("output", "folder", "key", "part"),
    [
        ("s3://b/in/out/", "in", "in/out/run_x/run.json", "out/"),
        ("s3://b/in/out", "in", "in/outer/a.txt", None),
        ("s3://b/out", "", "out/run_x/run.json", "out/"),
        ("s3://b/in", "in", "in/run_x/plan/part.arrow", "run_x/"),
        ("s3://b/in", "in", "in/2026/a.txt", None),
        ("s3://b", "", "run_x/run.json", "run_x/"),
        ("s3://b", "in", "in/a.txt", None),  # the input lies in the output, which is fine
        ("s3://other/in", "in", "in/run_x/run.json", None),
        ("/local/in", "in", "in/run_x/run.json", None),
        (None, "in", "in/run_x/run.json", None),
    ],
)
def test_an_object_that_a_run_has_written_belongs_to_its_folder(
    output: str | None, folder: str, key: str, part: str | None
) -> None:
    assert OwnPlaces(output).part_of(key, "b", folder, {"run_x"}) == part


def test_a_run_is_known_by_its_record_and_its_job() -> None:
    keys = ["in/r1/run.json", "in/r1/job.yaml", "in/r2/run.json", "in/a/r3/run.json", "in/a/r3/job.yaml", "in/run.json"]
    assert runs_in(keys, "in") == {"r1"}
    assert runs_in([key.removeprefix("in/") for key in keys], "") == {"r1"}
