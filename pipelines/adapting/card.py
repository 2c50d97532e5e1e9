"""What is to be known of an adapter, beside it: `adapter_card.json` for programs, `README.md` for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pipelines.adapting.gate import Gate, Measured
from pipelines.tasks.code_review.verification import VERIFICATION_ONLY

TERMS = "https://support.anthropic.com/en/articles/12326764"
_VERIFIES = (
    "It answers whether a claim about code is true, and nothing else: reviews are written by the base. Trained on were "
    "claims; judged were the verdicts, faulty or clean, that follow from them."
)
_OF_CLAUDE = (
    "Some labels are Claude's answers. What may be trained on them is for Anthropic's terms to say, or for those of "
    f"the cloud through which Claude was asked: {TERMS} (no legal advice)."
)


@dataclass(frozen=True)
class Card:
    """Everything that is told of an adapter."""

    created_at: datetime
    base: str
    base_revision: str
    before: str  # the model that the runs used, maybe with an adapter of its own
    before_revision: str
    task: str
    labels: tuple[str, ...]
    prompt_fingerprint: str
    runs: tuple[str, ...]
    label_counts: dict[str, dict[str, int]]
    target: float
    assurance: float
    settings: dict[str, Any]
    training_seconds: float
    device: str
    versions: dict[str, str]
    gate: Gate

    def as_json(self) -> str:
        """For programs; `base_revision` is what serving looks at."""
        content = asdict(self) | {"created_at": self.created_at.isoformat(), "terms": self._terms()}
        return json.dumps(content, indent=2) + "\n"

    def as_markdown(self) -> str:
        """For people."""
        gate = self.gate
        rows = [f"| {part} | {_row(getattr(gate, part))} |" for part in ("before", "after")]
        sources = {
            name: ", ".join(f"{count:,} {source}" for source, count in counts.items()) or "none"
            for name, counts in self.label_counts.items()
        }
        lines = [
            f"# LoRA adapter for {self.base}",
            "",
            f"For `{self.task}` into {len(self.labels)} labels: {', '.join(self.labels)}. Made by `pipeline adapt` on "
            f"{self.created_at:%Y-%m-%d}; used by `model: {{source: {self.base}, adapter: THIS FOLDER}}`.",
            "",
            *([_VERIFIES, ""] if self.task == VERIFICATION_ONLY else []),
            f"- base: {self.base}, revision `{self.base_revision}`",
            f"- compared with: {self.before}, revision `{self.before_revision}`",
            f"- runs: {', '.join(self.runs)}",
            f"- trained on labels: {sources['training']}",
            f"- judged on labels held back: {sources['held_back']}",
            f"- settings: {', '.join(f'{name} {value}' for name, value in self.settings.items())}",
            f"- training: {self.training_seconds / 60:.1f} minutes on {self.device}",
            "",
            f"Expected of a run over {gate.documents:,} documents at a target of {self.target:g} with assurance "
            f"{self.assurance:g}, from {gate.held_back:,} labels that were not trained on:",
            "",
            "| | asked | accuracy | calibration error | label mass |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Saved: {gate.saved:.1%} of the documents, 95 % interval {gate.saved_low:.1%} to {gate.saved_high:.1%}.",
            "A run with the adapter certifies its target on labels of its own; nothing here is a promise.",
        ]
        return "\n".join([*lines, *(["", self._terms()] if self._terms() else [])]) + "\n"

    def _terms(self) -> str:
        has_claude = any("claude" in counts for counts in self.label_counts.values())
        return _OF_CLAUDE if has_claude else ""


def _row(measured: Measured) -> str:
    return (
        f"{measured.asked_share:.1%} | {measured.accuracy:.1%} | {measured.calibration_error:.3f} | "
        f"{measured.label_mass:.3f}"
    )
