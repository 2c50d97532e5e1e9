"""Does a target hold, and what does it cost? Runs over the sample tickets, scored once by real vLLM, differing in seed.

    python -m tests.bench.quality [--runs 50] [--draws 1000]

Each run asks the local Message Batches service, which answers from the gold labels and is wrong as often as its error
rate says. Agreement is counted over all documents against what that service answers when it is asked about every one.
The naive threshold is what people do by hand: label as many documents as the run's pilot and sample together, and take
the lowest threshold at which these keep the target. Fifty runs say little of a promise that may fail once in ten, so
the rule is also drawn many times alone, on the very same scores and answers, without the service and the run around it.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from flows.console.progress import ProgressReporter
from flows.deciding.asking import settle_quality
from flows.deciding.decisions import read_record
from flows.deciding.item_by_item import decide_item_by_item
from flows.deciding.population import read_population
from flows.escalation.escalate import EscalationLoop
from flows.escalation.simulation import POLL_SECONDS, SETTLE_SECONDS, running_service, write_answer_key
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, open_run, prepare_run
from flows.stages.planning import PlanSummary
from flows.stages.publishing import publish_scored
from flows.stages.scoring import settle_unscored
from pipelines.cascade.rule.scored import UNASKED, Labels, Scored
from pipelines.cascade.rule.target import Target, target_steps
from pipelines.escalation.patience import PatientProvider
from pipelines.escalation.provider import BatchProvider
from pipelines.job.job import Job
from pipelines.store import layout
from pipelines.store.schemas import read_part
from tests.bench.children import REPOSITORY
from workers.providers.claude import ClaudeBatches, connect

JOB = REPOSITORY / "sample_data/jobs/tickets.yaml"
ASSURANCE = 0.9
TARGETS = (0.90, 0.95)
ERROR_RATE = 0.03


@dataclass(frozen=True)
class Measured:
    """One run."""

    agreement: float
    asked: int
    cost_usd: Decimal
    labelled: int  # pilot and certifying sample


def quiet() -> ProgressReporter:
    return ProgressReporter(Console(file=io.StringIO()))


def job_of(**changes: Any) -> Job:
    job = yaml.safe_load(JOB.read_text(encoding="utf-8"))
    job["input"] = str(REPOSITORY / job["input"])
    job["evaluation"]["gold_file"] = str(REPOSITORY / job["evaluation"]["gold_file"])
    return Job.model_validate(job | changes)


def score_once(folder: Path) -> Run:
    """Plan and predictions, by the installed command with real engines."""
    content = job_of(output=str(folder), quality="off", escalation="off").model_dump(mode="json")
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))  # the order of the labels is part of the prompt
    command = [str(Path(sys.executable).with_name("pipeline")), "submit", str(path), "--run-id", "scored"]
    subprocess.run(command, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    return open_run(str(folder / "scored"))


def copy_of(scored: Run, folder: Path, run_id: str, **changes: Any) -> tuple[Run, PlanSummary]:
    """A run of its own over the same scores; its seed is made from its id."""
    job = job_of(output=str(folder), **changes)
    run = prepare_run(job, check_surroundings(job), run_id)
    for part in (layout.PLAN, layout.PREDICTIONS):
        if part == layout.PLAN or run.has_engine:
            shutil.copytree(f"{scored.store.root}/{part}", f"{run.store.root}/{part}")
    return run, PlanSummary.model_validate_json(run.store.read(layout.PLAN_COMPLETE))


def answers_of(run: Run) -> dict[str, tuple[str, str, Decimal]]:
    """Answer, route and Claude's cost of every item."""
    columns = ["item_id", "answer", "route", "api_cost_usd"]
    rows: dict[str, tuple[str, str, Decimal]] = {}
    for key in run.store.list(layout.RESULTS):
        for row in read_part(run.store.read(key), columns).to_pylist():
            rows[row["item_id"]] = (row["answer"], row["route"], row["api_cost_usd"])
    return rows


def ask_all(scored: Run, folder: Path, provider: BatchProvider) -> dict[str, tuple[str, str, Decimal]]:
    """What Claude answers when it is asked about every document."""
    run, plan = copy_of(scored, folder, "all-claude", model="off", quality=None)
    settle_unscored(run, plan)
    assert run.rule is not None
    decide_item_by_item(run, plan, run.rule)
    EscalationLoop(run, plan, provider, quiet()).run(wait=True)
    publish_scored(run, plan, quiet())
    return answers_of(run)


def measure(
    scored: Run, folder: Path, number: int, target: float, provider: BatchProvider, claude: dict[str, str]
) -> Measured:
    quality = {"target": target, "assurance": ASSURANCE, "audit_items": 0}
    # In a folder of its own, so that no run begins with what another one learnt.
    run_id = f"target-{round(100 * target)}-{number}"
    run, plan = copy_of(scored, folder / f"of-{run_id}", run_id, quality=quality)
    settle_quality(run, plan, provider, quiet(), wait=True)
    publish_scored(run, plan, quiet())
    rows, record = answers_of(run), read_record(run)
    assert record
    assert record.certificate
    assert rows.keys() == claude.keys()
    return Measured(
        agreement=sum(answer == claude[item_id] for item_id, (answer, _, _) in rows.items()) / len(rows),
        asked=sum(route == "escalated" for _, route, _ in rows.values()),
        cost_usd=sum((cost for _, _, cost in rows.values()), Decimal(0)),
        labelled=record.certificate["pilot"] + record.certificate["sample"],
    )


def naive(
    confidence: NDArray[np.float64], is_right: NDArray[np.bool_], labelled: int, target: float, seed: int
) -> tuple[float, int]:
    """Agreement and items asked of a threshold chosen on ``labelled`` random documents."""
    chosen = np.random.default_rng(seed).choice(len(confidence), labelled, replace=False)
    order = chosen[np.argsort(-confidence[chosen], kind="stable")]
    agreement = 1 - np.cumsum(~is_right[order]) / labelled  # of the sample, were everything below asked
    holds = np.flatnonzero(agreement >= target)
    threshold = confidence[order[holds[-1]]] if len(holds) else np.inf
    is_asked = confidence < threshold
    is_asked[chosen] = True
    return 1 - float((~is_right & ~is_asked).mean()), int(is_asked.sum())


def draw_alone(scored: Scored, is_right: NDArray[np.bool_], target: float, draws: int) -> tuple[float, float]:
    """Share of draws of the rule that kept the target, and the share of documents asked, on average."""
    kept, asked = 0, 0
    for seed in range(draws):
        labels: Labels = np.full(len(scored), UNASKED, np.int8)
        for batch in target_steps(replace(scored, seed=seed), Target(target, ASSURANCE), labels):
            labels[batch.items] = ~is_right[batch.items]
        is_asked = labels != UNASKED
        kept += float((is_asked | is_right).mean()) >= target
        asked += int(is_asked.sum())
    return kept / draws, asked / draws / len(scored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--draws", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scored = score_once(folder)
        plan = PlanSummary.model_validate_json(scored.store.read(layout.PLAN_COMPLETE))
        write_answer_key(scored.question.known_answers(scored.store, plan.shards), folder / "answers.jsonl")
        with running_service(folder / "service", folder / "answers.jsonl", ERROR_RATE) as url:
            client = ClaudeBatches(connect("simulation", url), "simulation", SETTLE_SECONDS)
            provider = PatientProvider(client, time.sleep, POLL_SECONDS)
            compare(scored, plan, folder, provider, arguments.runs, arguments.draws)


def compare(scored: Run, plan: PlanSummary, folder: Path, provider: BatchProvider, runs: int, draws: int) -> None:
    rows = ask_all(scored, folder, provider)
    claude = {item_id: answer for item_id, (answer, _, _) in rows.items()}
    all_usd = sum((cost for _, _, cost in rows.values()), Decimal(0))
    population = read_population(scored, plan)
    names = np.array(list(scored.job.labels))
    given = names[population.scored.answer]
    is_right = given == np.array([claude[item_id] for item_id in map(str, population.item_ids.to_pylist())])
    print(f"{len(claude):,} documents, {runs} runs for each target; the engine alone agrees on {is_right.mean():.1%}")
    table = Table(
        "target", "way", "runs that kept it", "agreement, mean", "least", "asked", "cost USD", "of all-Claude"
    )
    table.add_row("-", "all Claude", "-", "100.0%", "-", "100.0%", f"{all_usd:.4f}", "100%")
    for target in TARGETS:
        found = [measure(scored, folder, number, target, provider, claude) for number in range(runs)]
        add(table, target, f"target, {ASSURANCE:.0%} assurance", found, len(claude), all_usd)
        by_hand = []
        for number, run in enumerate(found):
            agreement, asked = naive(population.scored.confidence, is_right, run.labelled, target, number)
            by_hand.append(Measured(agreement, asked, all_usd * asked / len(claude), run.labelled))
        add(table, target, "naive threshold", by_hand, len(claude), all_usd)
    Console(width=140).print(table)
    for target in TARGETS:
        kept, share = draw_alone(population.scored, is_right, target, draws)
        print(f"target {target:.2f}, the rule alone, {draws:,} draws: kept {kept:.1%}, asked {share:.1%} on average")


def add(table: Table, target: float, way: str, found: list[Measured], items: int, all_usd: Decimal) -> None:
    kept = sum(run.agreement >= target for run in found)
    cost = sum((run.cost_usd for run in found), Decimal(0)) / len(found)
    table.add_row(
        f"{target:.2f}",
        way,
        f"{kept} of {len(found)}",
        f"{np.mean([run.agreement for run in found]):.1%}",
        f"{min(run.agreement for run in found):.1%}",
        f"{np.mean([run.asked for run in found]) / items:.1%}",
        f"{cost:.4f}",
        f"{cost / all_usd:.0%}",
    )


if __name__ == "__main__":
    main()
