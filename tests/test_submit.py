"""What is looked for before anything runs: a budget needs prices."""

from pathlib import Path
from typing import Any

import pytest

from flows.preflight.surroundings import check_surroundings
from pipelines.errors import JobError
from pipelines.job.job import Job


def job_of(tmp_path: Path, **changes: Any) -> Job:
    (tmp_path / "documents.jsonl").write_text('{"text": "a", "label": "billing"}\n')
    fixed = {
        "name": "tickets",
        "task": "classification",
        "input": str(tmp_path / "documents.jsonl"),
        "output": str(tmp_path),
        "model": "starter",
        "labels": {"billing": None, "outage": None},
        "quality": {"raw_threshold": 0.9},
        "evaluation": {"gold_column": "label"},
        "budget_usd": "1",
    }
    return Job.model_validate(fixed | changes)


def tiers(*models: str) -> dict[str, Any]:
    return {"provider": "simulation", "tiers": [{"model": model} for model in models]}


def test_a_budget_over_models_without_a_price_is_refused_for_each(tmp_path: Path) -> None:
    job = job_of(tmp_path, escalation=tiers("claude-haiku-5-5", "claude-of-tomorrow-9", "claude-of-tomorrow-10"))
    with pytest.raises(JobError) as caught:
        check_surroundings(job)
    assert caught.value.problems == [
        f"budget_usd: anthropic's price of 'claude-of-tomorrow-{number}' is unknown, so no budget can be kept"
        for number in (9, 10)
    ]


def test_a_claude_model_that_may_be_mistyped_is_told_before_anything_is_spent(tmp_path: Path) -> None:
    told: list[str] = []
    check_surroundings(job_of(tmp_path, escalation=tiers("claude-haiku-55"), budget_usd=None), say=told.append)
    assert told == [
        "warning   escalation: anthropic's price of 'claude-haiku-55' is unknown, and so will be what it costs; "
        "did you mean 'claude-haiku-5-5'"
    ]
    with pytest.raises(JobError, match="so no budget can be kept; did you mean 'claude-haiku-5-5'"):
        check_surroundings(job_of(tmp_path, escalation=tiers("claude-haiku-55")))


@pytest.mark.parametrize(
    "changes",
    [
        {"escalation": tiers("claude-haiku-5-5", "claude-haiku-4-5-20251001")},
        {"escalation": tiers("claude-of-tomorrow-9"), "budget_usd": None},
        {"escalation": "off"},
    ],
)
def test_without_a_budget_or_with_prices_nothing_is_wrong(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert len(check_surroundings(job_of(tmp_path, **changes))) == 1


@pytest.mark.parametrize("quality", [{"target": 0.9}, None])
def test_rounds_too_small_for_the_provider_are_refused(tmp_path: Path, quality: Any) -> None:
    escalation = {"provider": "bedrock", "model": "claude-of-tomorrow-9"}
    job = job_of(tmp_path, escalation=escalation, quality=quality, budget_usd="1")
    with pytest.raises(JobError) as caught:
        check_surroundings(job)
    assert caught.value.problems[-1] == (
        "quality: a target or a budget alone asks Claude in rounds of 30 items and fewer, and bedrock takes no batch "
        "of less than 100; give a raw_threshold, or another escalation.provider"
    )
