"""Every number of a job file is bounded, so that what is accepted can be completed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.costs.accounting import device_cost
from pipelines.store.schemas import MONEY
from tests.job.job_case import CLAUDE, GOOD, load, path, problems

__all__ = ["path"]

REVIEW = GOOD.replace("task: classification", "task: code_review").replace(
    'labels: {billing: "money", outage: null}\n', ""
)
ESCALATING = GOOD.replace("escalation: off", CLAUDE)


def with_quality(quality: str) -> str:
    return ESCALATING.replace("quality: {raw_threshold: 0.9}", f"quality: {quality}")


def with_engine(argument: str) -> str:
    return GOOD.replace("model: starter", f"model: {{source: some/model, engine: {{{argument}}}}}")


def with_claude(field: str) -> str:
    return GOOD.replace("escalation: off", f"escalation: {{model: claude-haiku-5-5, {field}}}")


NOT_NUMBERS = [".nan", ".inf", "-.inf", "-1", "1e+400"]
FIELDS = {
    "budget_usd": lambda value: f"{ESCALATING}budget_usd: {value}\n",
    "compute.device_hour_usd": lambda value: f"{GOOD}compute: {{device_hour_usd: {value}}}\n",
    "compute.engines": lambda value: f"{GOOD}compute: {{engines: {value}}}\n",
    "limits.max_document_bytes": lambda value: f"{GOOD}limits: {{max_document_bytes: {value}}}\n",
    "quality.target": lambda value: with_quality(f"{{target: {value}}}"),
    "quality.assurance": lambda value: with_quality(f"{{target: 0.9, assurance: {value}}}"),
    "quality.raw_threshold": lambda value: with_quality(f"{{raw_threshold: {value}}}"),
    "quality.audit_items": lambda value: with_quality(f"{{target: 0.9, audit_items: {value}}}"),
    "quality.term_items": lambda value: with_quality(f"{{target: 0.9, term_items: {value}}}"),
    "escalation.max_output_tokens": lambda value: with_claude(f"max_output_tokens: {value}"),
    "escalation.chunk_items": lambda value: with_claude(f"chunk_items: {value}"),
    "escalation.simulated_error_rate": lambda value: with_claude(f"simulated_error_rate: {value}"),
    "review.threshold": lambda value: f"{REVIEW}review: {{threshold: {value}}}\n",
    "review.max_output_tokens": lambda value: f"{REVIEW}review: {{max_output_tokens: {value}}}\n",
}


@pytest.mark.parametrize("value", [*NOT_NUMBERS, "1e+20", "9000000000000000000"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_number_that_could_never_be_kept_to_is_refused_with_its_field(path: Path, field: str, value: str) -> None:
    (problem,) = problems(path, FIELDS[field](value))
    assert problem.partition(": ")[2].startswith(f"{field}: ")


@pytest.mark.parametrize(
    "argument",
    [
        "tensor_parallel_size: 0",
        "tensor_parallel_size: -2",
        "tensor_parallel_size: two",
        "tensor_parallel_size: 1.5",
        "tensor_parallel_size: true",
        "pipeline_parallel_size: 2",
        "max_model_len: 2k",
        "max_model_len: 0",
        "max_num_seqs: 0",
        "gpu_memory_utilization: 0",
        "gpu_memory_utilization: 1.1",
        "gpu_memory_utilization: .nan",
        "some_number: .inf",
        "some_number: 9000000000000000000",
        "hf_overrides: {scale: [1, .nan]}",
    ],
)
def test_a_number_of_the_engine_section_is_refused_with_its_name(path: Path, argument: str) -> None:
    (problem,) = [each for each in problems(path, with_engine(argument)) if "model.engine" in each]
    assert problem.partition(": ")[2].startswith("model.engine: ")
    assert argument.split(":")[0] in problem
    assert "is expected" in problem or "written down" in problem


@pytest.mark.parametrize(
    "argument",
    [
        "tensor_parallel_size: 8, max_model_len: 32768, gpu_memory_utilization: 0.9, seed: 0",
        "enforce_eager: true, dtype: float32, max_model_len: null, hf_overrides: {rope_theta: 1000000.0, factor: -1}",
    ],
)
def test_arguments_of_use_are_taken(path: Path, argument: str) -> None:
    load(path, with_engine(argument))


def test_a_days_work_of_the_dearest_engine_fits_the_money_columns(path: Path) -> None:
    job = load(path, f"{GOOD}compute: {{device_hour_usd: 10000}}\nlimits: {{max_document_bytes: 1000000000}}\n")
    assert job.compute.device_hour_usd is not None
    cost = device_cost(24 * 1_024 * 3_600 * 10**9 // 10, job.compute.device_hour_usd)
    assert pa.array([cost, Decimal(99_999_999)], MONEY).type == MONEY
