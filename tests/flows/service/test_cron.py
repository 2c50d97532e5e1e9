"""`--cron`: what is no time to run at is refused in words, before anything is registered."""

from pathlib import Path

import pytest

from flows.service import deploy
from flows.service.deployments import next_times, parse_cron
from pipelines.errors import JobError
from tests.flows.service.series_case import tickets_job, write_job

REFUSED = {
    "every night": "'every night' is no cron expression",
    "": "'' is no cron expression",
    "0 3 * *": "'0 3 * *' is no cron expression",
    "0 25 * * *": "'0 25 * * *' is no cron expression",
    "0 0 3 * * *": "'0 0 3 * * *' has 6 fields, of which there are five",
    "0 0 3 * * * 2030": "'0 0 3 * * * 2030' has 7 fields, of which there are five",
    "0 3 31 2 *": "'0 3 31 2 *' never fires: no month has such a day",
    "0 3 30 2 *": "'0 3 30 2 *' never fires: no month has such a day",
    "0 0 31 4,6,9,11 *": "'0 0 31 4,6,9,11 *' never fires: no month has such a day",
}


@pytest.mark.parametrize(("cron", "problem"), REFUSED.items())
def test_what_is_no_time_is_refused_before_anything_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cron: str, problem: str
) -> None:
    monkeypatch.setattr(deploy, "prefect_client", lambda: pytest.fail("Prefect was asked"))
    job = write_job(tmp_path / "job.yaml", tickets_job(tmp_path))
    with pytest.raises(JobError) as refused:
        deploy.deploy_job(job, cron, None, "pool")
    (told,) = refused.value.problems
    assert told.startswith(f"--cron: {problem}")
    assert "an example is" in told


@pytest.mark.parametrize("cron", ["0 3 * * *", "@daily", "0 0 29 2 *", "0 0 31 * 1", " 0  3 * * * "])
def test_what_is_one_is_told_with_its_next_times(cron: str) -> None:
    assert len(next_times(parse_cron(cron), 3)) == 3
