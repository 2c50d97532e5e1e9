"""What `pipeline doctor JOB` looks at beside the machine: whether a run of this job could start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from flows.preflight.check import GIB, Check, size
from flows.preflight.endpoint_check import check_endpoint
from flows.preflight.machine_checks import available_memory, clock_check, disk_check
from flows.preflight.surroundings import check_surroundings
from flows.questions.over_http import model_of
from pipelines.errors import JobError, StoreError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.job.job_file import load_job
from pipelines.job.sections import ModelSource
from pipelines.settings import settings
from pipelines.store.objects import Store
from workers.engines.catalogue import find_entry, missing_folder, weights_on_disk
from workers.engines.fitting.fit import least_cpu_engine_gib
from workers.engines.fitting.machines import cards_here as gpus

_MORE_THAN_WEIGHTS = 1.2  # a cache and activations beside them, at the least
_ANSWER_SECONDS = 3.0
_CLAUDE = "https://api.anthropic.com"


def load(path: Path) -> tuple[Job | None, list[Check]]:
    """The job, or every mistake in its file."""
    try:
        job = load_job(path)
    except JobError as error:
        return None, [Check("job", "wrong", problem) for problem in error.problems]
    return job, [Check("job", "ok", f"{path} is a job: {job.name}, {job.task}")]


def check_what_it_names(job: Job) -> list[Check]:
    """Input, columns, output, gold labels, key, budget: what `submit` looks at before it begins."""
    notes: list[str] = []
    try:
        sources = check_surroundings(job, say=notes.append)
    except JobError as error:
        return [Check(_field(problem), "wrong", problem.partition(": ")[2] or problem) for problem in error.problems]
    total = sum(source.size_bytes for source in sources)
    files = f"{len(sources):,} file{'' if len(sources) == 1 else 's'}, {size(total)}"
    read = Check("input", "ok", f"{files}; the columns that the job names are there")
    return [read, *(Check("input", "warning", note.removeprefix("warning   ")) for note in notes)]


def _field(problem: str) -> str:
    name = problem.partition(":")[0]
    return name if name and " " not in name else "job"


def check_output(job: Job) -> list[Check]:
    """Whether an object can be created below the output, and taken away again."""
    parts = urlsplit(job.output)
    where = job.output
    if parts.scheme != "s3":
        folder = Path(parts.path if parts.scheme else job.output).absolute()
        if not folder.parent.is_dir() and not folder.is_dir():
            return []  # told with the rest of what the job names
        where = str(folder if folder.is_dir() else folder.parent)
    try:
        left = Store(where).try_writing()
    except StoreError as error:
        return [Check("output", "wrong", str(error), "mend the rights, or name another output in the job")]
    found = [Check("output", "ok", f"{job.output}: an object was created and removed")]
    if left:
        found = [Check("output", "warning", f"{left} was created for a test and may not be deleted", "delete it")]
    if parts.scheme != "s3":
        found.append(disk_check("disk", Path(where), "output"))
    return found


def check_keys(job: Job) -> list[Check]:
    """Whether the provider's keys are set; never what they are."""
    if job.escalation is None or job.escalation.provider == "simulation":
        return [Check("keys", "ok", "none needed: nothing is sent to Claude")]
    if job.escalation.provider == "anthropic":
        is_set = settings().anthropic_api_key is not None
        return [Check("keys", "ok", "ANTHROPIC_API_KEY is set")] if is_set else []  # told with what the job names
    if job.escalation.provider == "bedrock":
        here = settings()
        given = {
            "SLUICE_BEDROCK_REGION": here.bedrock_region,
            "SLUICE_BEDROCK_ROLE_ARN": here.bedrock_role_arn,
            "SLUICE_BEDROCK_S3_PREFIX": here.bedrock_s3_prefix,
        }
        if missing := [name for name, value in given.items() if not value]:
            return [Check("keys", "wrong", f"not set: {', '.join(missing)}", "set them; see docs/asking-claude.md")]
        return [Check("keys", "ok", "Bedrock's region, role and S3 prefix are set")]
    provider = job.escalation.provider
    return [Check("keys", "skipped", f"{provider}: looked for only when the run first asks; see docs/asking-claude.md")]


def check_clock(job: Job) -> list[Check]:
    """Against the provider's, which refuses requests out of their time."""
    if job.escalation is None or job.escalation.provider != "anthropic":
        return []
    import httpx

    url = settings().anthropic_base_url or _CLAUDE
    try:
        answer = httpx.head(url, timeout=_ANSWER_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return [Check("clock", "skipped", f"not compared: {url} does not answer ({type(error).__name__})")]
    return [clock_check(url, answer.headers.get("date"))]


def check_weights(job: Job) -> list[Check]:
    """Whether the model's weights are here, and would fit."""
    if job.model is None:
        return [Check("model", "ok", "off: no engine is needed")]
    if isinstance(job.model, ModelEndpoint):
        return [check_endpoint(job.model)]
    try:
        name, entry = find_entry(job.model)
    except JobError:
        return []  # told with what the job names
    weights = weights_on_disk(entry)
    if weights is None and (missing := missing_folder(name, entry)):
        what, _, mend = missing.partition("; ")
        return [Check("model", "wrong", what, mend)]
    if weights is None:
        mend = f"hf download {entry.source}" + (f" --revision {entry.revision}" if entry.revision else "")
        return [Check("model", "warning", f"{name}: weights are not here yet; the first run downloads them", mend)]
    if isinstance(job.model, ModelSource) and job.model.adapter:
        try:
            model_of(job)
        except (JobError, StoreError) as error:
            problems = error.problems if isinstance(error, JobError) else [str(error)]
            return [Check("adapter", "wrong", problem.removeprefix("model.adapter: ")) for problem in problems]
    what, cards = f"{name}: {size(weights)} of weights", gpus()
    room = min(memory for _, memory in cards) if cards else available_memory()
    needed = weights * _MORE_THAN_WEIGHTS if cards else weights + least_cpu_engine_gib() * GIB
    if not cards:
        what += f" ({size(needed)} with all else of an engine)"
    if room is None or settings().ray_address is not None:
        return [Check("model", "ok", f"{what}; whether they fit, the engines' machines will tell")]
    where = "one GPU's memory" if cards else "this machine's memory"
    group = entry.engine.get("tensor_parallel_size", 1) if cards else 1
    if needed > room * group:
        mend = "name a smaller model (pipeline models)" + (
            ", or raise engine.tensor_parallel_size" if cards else ", or end what else runs here"
        )
        return [Check("model", "wrong", f"{what}, more than {where} ({size(room)}) can hold", mend)]
    return [Check("model", "ok", f"{what} fit into {where} ({size(room)})")]


CHECKS: dict[str, Callable[[Job], Sequence[Check]]] = {
    "input": check_what_it_names,
    "output": check_output,
    "keys": check_keys,
    "clock": check_clock,
    "model": check_weights,
}
