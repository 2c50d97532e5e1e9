"""What a job file beside dropped files may ask for: whoever may drop a file does not own the machine that works on it.

The owner's default job is the measure. Whatever is not named here is the job file's own business: the question, its
labels, what is accepted.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.job.sections import ModelSource

# Sizes and switches. Nothing that names a file, a place, a class or another model.
_ENGINE_ARGUMENTS = (
    "block_size",
    "cpu_offload_gb",
    "dtype",
    "enable_chunked_prefill",
    "enable_prefix_caching",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_dtype",
    "language_model_only",
    "max_model_len",
    "max_num_batched_tokens",
    "max_num_seqs",
    "quantization",
    "seed",
    "tensor_parallel_size",
)


@dataclass(frozen=True)
class JobFileOptions:
    """What the command line of a listener says of job files in its folder."""

    models: frozenset[str] = frozenset()  # sources besides the catalogue's, `source` or `source@revision`
    outputs_below: str | None = None  # by default, the output of the default job


@dataclass(frozen=True)
class JobRules:
    """What holds for every job that the listener's owner has not written."""

    default: Job
    options: JobFileOptions = JobFileOptions()

    def problems(self, job: Job) -> list[str]:
        """Everything in which a job asks for more than it may."""
        asked = (
            self._of_questions,
            self._of_model,
            self._of_training,
            self._of_places,
            self._of_money,
            self._of_machines,
        )
        return [problem for problems in asked for problem in problems(job)]

    def _of_questions(self, job: Job) -> Iterator[str]:
        """Each may ask whom it likes, and name files: what is bounded here is bounded of one."""
        if job.asks_several and (job.questions, job.choose) != (self.default.questions, self.default.choose):
            yield (
                "questions: several questions, or choose: any, are not allowed in a job file beside dropped files, "
                "unless they are the default job's, to the letter; ask one question a file"
            )

    def _of_training(self, job: Job) -> Iterator[str]:
        if job.adapt is not None:
            yield "adapt: is not allowed in a job file beside dropped files, which start no training; leave it out"

    def _of_model(self, job: Job) -> Iterator[str]:
        if isinstance(job.model, ModelEndpoint) and job.model != self.default.model:
            yield (
                "model.endpoint: is not allowed in a job file beside dropped files, unless it is the default job's, to "
                "the letter; name a model from `pipeline models`"
            )
        if not isinstance(job.model, ModelSource) or job.model == self.default.model:
            return
        named = job.model.source + (f"@{job.model.revision}" if job.model.revision else "")
        allowed = {*self.options.models, *self._default_source()}
        if named not in allowed:
            yield (
                f"model.source: '{named}' is not allowed in a job file beside dropped files; name a model from "
                f"`pipeline models`, or have the listener started with --allow-model '{named}'"
            )
        if job.model.adapter and job.model.adapter != getattr(self.default.model, "adapter", None):
            yield (
                f"model.adapter: '{job.model.adapter}' is not allowed in a job file beside dropped files; only the "
                "adapter of the listener's default job is: leave it out"
            )
        for argument in sorted(job.model.engine.keys() - set(_ENGINE_ARGUMENTS)):
            yield (
                f"model.engine.{argument}: is not allowed in a job file beside dropped files; "
                f"these are: {', '.join(_ENGINE_ARGUMENTS)}"
            )

    def _default_source(self) -> Iterator[str]:
        if isinstance(model := self.default.model, ModelSource):
            yield model.source + (f"@{model.revision}" if model.revision else "")

    def _of_places(self, job: Job) -> Iterator[str]:
        below = self.options.outputs_below or self.default.output
        if not _lies_below(job.output, below):
            yield (
                f"output: '{job.output}' does not lie below '{below}', as it must in a job file beside dropped files; "
                "choose a place there, or have the listener started with --outputs-below"
            )
        if job.evaluation and job.evaluation != self.default.evaluation:
            for name in ("gold_file", "faults_file"):  # read on the listener's machine, and told of in reports
                if getattr(job.evaluation, name) is not None:
                    yield (
                        f"evaluation.{name}: only the listener's default job may name a file of its machine; "
                        "give gold_column, or leave evaluation out"
                    )

    def _of_money(self, job: Job) -> Iterator[str]:
        asked, allowed = job.escalation, self.default.escalation
        if asked is None:
            return
        if asked.provider != "simulation" and (allowed is None or asked.provider != allowed.provider):
            theirs = f"asks '{allowed.provider}'" if allowed else "asks nobody"
            yield f"escalation.provider: '{asked.provider}', where the listener's default job {theirs}; use that"
        most = self.default.budget_usd
        if most is not None and (job.budget_usd is None or job.budget_usd > most):
            given = "is missing" if job.budget_usd is None else f"is {job.budget_usd}"
            yield f"budget_usd: {given}; the listener's default job allows {most} for each file"

    def _of_machines(self, job: Job) -> Iterator[str]:
        most, asked = self.default.compute.engines, job.compute.engines
        if most is not None and asked is not None and asked > most:
            yield f"compute.engines: is {asked}; the listener's default job allows {most}"
        if job.limits.max_document_bytes > self.default.limits.max_document_bytes:
            yield (
                f"limits.max_document_bytes: is {job.limits.max_document_bytes:,}; the listener's default job allows "
                f"{self.default.limits.max_document_bytes:,}"
            )


def _lies_below(place: str, folder: str) -> bool:
    """Whether a place is the folder or lies in it, whatever links and dots are on the way."""
    if place.startswith("s3://") or folder.startswith("s3://"):
        inner, outer = (f"{posixpath.normpath(location.rstrip('/'))}/" for location in (place, folder))
        has_dots = {".", ".."} & set(place.split("/"))  # S3 takes them as names, other tools do not
        return inner.startswith(outer) and not has_dots
    paths = [Path(urlsplit(location).path or location).expanduser().resolve() for location in (place, folder)]
    return paths[0].is_relative_to(paths[1])
