"""Whether a job's first tier over HTTP is there: what can be found out without asking it about anything."""

from __future__ import annotations

from flows.preflight.check import Check
from pipelines.errors import EngineError, JobError
from pipelines.job.endpoint import ModelEndpoint
from workers.endpoint.client import FirstTierClient
from workers.endpoint.probe import listed_models


def check_endpoint(asked: ModelEndpoint) -> Check:
    """Its server answers, takes the key, and has the model; what it gives of probabilities, a run's beginning tells."""
    try:
        client = FirstTierClient(asked, attempts=1)
    except JobError as error:
        return Check("model", "wrong", error.problems[0].partition(": ")[2])
    try:
        listed = listed_models(client)
    except EngineError as error:
        return Check("model", "wrong", str(error))
    finally:
        client.close()
    if listed is not None and asked.name not in listed:
        names = ", ".join(sorted(listed)[:10])
        return Check("model", "wrong", f"{asked.endpoint} has no model '{asked.name}'; it has {names}")
    return Check("model", "ok", f"{asked.endpoint} answers; what it gives of probabilities, the run asks as it begins")
