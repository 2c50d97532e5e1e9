"""The adapters of a run's series, as its page shows them: which one it used, and what became of each before it."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.adapting.chain import ToldChain, Training
from pipelines.report.html.reported_run import ReportedRun
from pipelines.report.page import percent


@dataclass(frozen=True)
class TrainingRow:
    """One training, in words."""

    number: int
    begun: str
    runs: int
    outcome: str
    before: str
    after: str
    saved: str


def training_rows(run: ReportedRun) -> list[TrainingRow]:
    """The trainings before this run, the newest first."""
    return [_row(training, run.adapters) for training in run.adapters.trainings] if run.adapters else []


def used_sentence(run: ReportedRun) -> str:
    """Whose adapter the run used."""
    if run.adapters is None or run.adapters.used is None:
        return "This run used no adapter of its series."
    return f"This run used the adapter of training {run.adapters.used}."


def _row(training: Training, chain: ToldChain) -> TrainingRow:
    begun, ended = training.begun, training.ended
    gate = ended.gate if ended else None
    return TrainingRow(
        number=begun.number,
        begun=f"{begun.begun_at:%Y-%m-%d}",
        runs=len(begun.runs),
        outcome=_outcome(training, chain),
        before=percent(gate.before.asked_share if gate else None),
        after=percent(gate.after.asked_share if gate else None),
        saved=f"{percent(gate.saved)} ({percent(gate.saved_low)} to {percent(gate.saved_high)})" if gate else "-",
    )


def _outcome(training: Training, chain: ToldChain) -> str:
    if training.ended is None:
        return "not at its end when this run began"
    told = training.ended.outcome
    if training.ended.reason:
        return f"{told}: {training.ended.reason}"
    return f"{told}, used here" if training.begun.number == chain.used else told
