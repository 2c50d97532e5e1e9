"""`--cron`: what is no time to run at is refused in words, before anything is registered."""

from pathlib import Path

import pytest
import yaml

from flows.service import deploy
from flows.service.deployments import next_times, parse_cron
from flows.submit import submit_since_last
from pipelines.errors import JobError
from tests.faults.escalation_case import quiet
from tests.flows.service.series_case import tickets_job, write_job
from workers.adapting import installed

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


def test_a_series_that_adapts_is_refused_where_nothing_can_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "prefect_client", lambda: pytest.fail("Prefect was asked"))
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "peft" else object())
    job = tickets_job(tmp_path, model="starter", quality={"target": 0.9}, adapt={"every": "30d"})
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job.model_dump(mode="json", exclude_none=True)))
    told = "adapt: peft must be installed for it: pip install 'sluice[adapt]'"
    with pytest.raises(JobError) as refused:
        deploy.deploy_job(path, "@daily", None, "pool")
    assert refused.value.problems == [told]
    with pytest.raises(JobError) as refused:
        submit_since_last(path, {}, True, quiet())
    assert refused.value.problems == [told]
