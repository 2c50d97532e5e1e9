"""Connecting to whoever answers message batches: by the job's `provider`, with credentials from the environment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from flows.console.progress import ProgressReporter
from flows.escalation.requests import request_templates
from flows.escalation.simulation import (
    NOTICE,
    POLL_SECONDS,
    SETTLE_SECONDS,
    running_service,
    write_answer_key,
)
from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.errors import JobError, ProviderError
from pipelines.escalation.patience import PatientProvider
from pipelines.escalation.provider import BatchProvider
from pipelines.settings import settings


@contextmanager
def open_provider(run: Run, plan: PlanSummary, progress: ProgressReporter) -> Iterator[BatchProvider]:
    """The run's provider, patient with outages.

    Raises:
        ProviderError: credentials are missing where the flow runs, or the simulation does not start.
    """
    escalation = run.job.escalation
    assert escalation is not None
    if escalation.provider == "simulation":
        progress.say(NOTICE)
        folder = settings().state_dir / "simulation" / run.run_id
        rooms = [template.room_bytes for template in request_templates(run)]
        write_answer_key(run.question.known_answers(run.store, plan.shards, rooms), folder / "answer_key.jsonl")
        with running_service(folder, folder / "answer_key.jsonl", escalation.simulated_error_rate) as url:
            from workers.providers.claude import ClaudeBatches, connect

            provider = ClaudeBatches(connect("simulation", url), "simulation", SETTLE_SECONDS)
            yield PatientProvider(provider, time.sleep, POLL_SECONDS)
        return
    yield PatientProvider(_connect(escalation.provider), time.sleep, settings().poll_seconds)


def _connect(name: str) -> BatchProvider:
    # Imported late: the SDKs take two seconds, and a run without doubtful items never needs them.
    if name == "bedrock":
        return _connect_bedrock()
    from workers.providers import claude

    if name == "aws":
        return claude.ClaudeBatches(claude.connect_aws(), name)
    if name == "google_cloud":
        return claude.ClaudeBatches(claude.connect_google_cloud(), name)
    key = settings().anthropic_api_key
    if key is None:  # checked at submit; a flow started elsewhere may lack it all the same
        raise ProviderError("ANTHROPIC_API_KEY is not set where the flow runs; set it there and run it again")
    return claude.ClaudeBatches(claude.connect(key.get_secret_value(), settings().anthropic_base_url), name)


def _connect_bedrock() -> BatchProvider:
    from workers.providers.bedrock import BedrockBatches
    from workers.providers.bedrock_account import BedrockSettings, connect

    given = settings()
    if not (given.bedrock_region and given.bedrock_role_arn and given.bedrock_s3_prefix and given.bedrock_model_ids):
        raise JobError(
            [
                "escalation.provider: `bedrock` needs SLUICE_BEDROCK_REGION, SLUICE_BEDROCK_ROLE_ARN, "
                "SLUICE_BEDROCK_S3_PREFIX and SLUICE_BEDROCK_MODEL_IDS in the environment"
            ]
        )
    return BedrockBatches(
        connect(given.bedrock_region),
        BedrockSettings(
            region=given.bedrock_region,
            role_arn=given.bedrock_role_arn,
            s3_prefix=given.bedrock_s3_prefix,
            model_ids=given.bedrock_model_ids,
            minimum_records=given.bedrock_minimum_records,
        ),
    )
