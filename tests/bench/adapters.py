"""Is the second run cheaper? Two runs over halves of the sample tickets, under labels that the model was not made for.

    python -m tests.bench.adapters [--seeds 20] [--shuffled 20] [--source gold] [--documents 1990]
                                   [--out .cache/adapters.jsonl]

Run 1 asks a simulated Claude, which answers from the true labels and is wrong as often as its error rate says, until
the rule has kept its target. `pipeline adapt`'s own functions divide the true labels of run 1's documents, or with
``--source claude`` what Claude answered, train an adapter on them and judge it. Run 2 is over the other half, with the
adapter. The promise is counted over many drawings of run 2's rule. Everything is scored by torch, in the engine's
prompts; `tests/scenarios/test_adapt.py` does the same with real engines. For ``--shuffled`` seeds the labels are dealt
out at random before the same training, and the adapter must be refused. ``--documents`` takes the shortest tickets
alone, where the machine has not the hours for all. Each seed's outcome is kept in the file, and the same command goes
on from there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from flows.deciding.lessons import served_frames, served_logprobs, shuffled_frames
from flows.questions.classification import LabelQuestion
from pipelines.adapting.gate import Gate, Logprobs, judge
from pipelines.adapting.labels import Division, Labelled, Source, at_one_rate, divide
from pipelines.cascade.confidence import read_scores
from pipelines.cascade.rule.history import walk
from pipelines.cascade.rule.scored import AGREES, DIFFERS, Scored
from pipelines.cascade.rule.target import Target, target_steps
from pipelines.job.job_file import parse_job
from tests.bench.changed_labels import as_job, changed_tickets
from workers.adapting.examples import Example
from workers.adapting.network import load_network
from workers.adapting.training import TrainingPlan, train
from workers.engines.catalogue import resolve_model

PROMISE = Target(0.90, 0.90)
ERROR_RATE = 0.03
DRAWS = 50
ALL_DOCUMENTS = 1_990  # tickets that `changed_tickets` gives
ADAPTED, SHUFFLED = "adapted", "shuffled"
Items = NDArray[np.int64]


@dataclass(frozen=True)
class Played:
    """One drawing of the rule over a run's documents."""

    asked_share: float
    agreement: float
    asked: NDArray[np.bool_]
    drawn_by_chance: NDArray[np.bool_]


class World:
    """The tickets, what Claude would answer to each, and what the base says of each."""

    def __init__(self, source: Source, documents: int) -> None:
        self.source = source
        job = parse_job(
            as_job(name="tickets", input=".", output="out", model="starter", quality="off", escalation="off"), ""
        )
        self.model = resolve_model("starter")
        self.question = LabelQuestion(job, self.model)
        by_length = sorted(enumerate(changed_tickets()), key=lambda numbered: len(numbered[1].text))
        tickets = [ticket for _, ticket in sorted(by_length[:documents], key=lambda numbered: numbered[0])]
        names = list(job.labels)
        truth = np.array([names.index(ticket.label) for ticket in tickets], np.int64)
        random = np.random.default_rng(0)
        others = (truth + random.integers(1, len(names), len(truth))) % len(names)
        self.claude: Items = np.where(random.random(len(truth)) < ERROR_RATE, others, truth)
        encoded = self.question.encode([ticket.text for ticket in tickets])
        room, taught = self.question.document_tokens, truth if source == "gold" else self.claude
        self.documents = [
            Labelled(ticket.id, np.array(tokens[:room], np.int32), int(label), source, False)
            for ticket, tokens, label in zip(tickets, encoded, taught, strict=True)
        ]

    @cached_property
    def base(self) -> Logprobs:
        """Of every document."""
        return self.scored(load_network(self.model), range(len(self.documents)))

    def scored(self, network: Any, items: Iterable[int]) -> Logprobs:
        """As the engine would score some of them."""
        documents = [self.documents[item] for item in items]
        return served_logprobs(network, self.question, served_frames(self.question), documents)

    def play(self, logprobs: Logprobs, items: Items, seed: int) -> Played:
        """A run over some of them, with one drawing of its rule."""
        scores = read_scores(logprobs, None)
        known = np.where(scores.answer == self.claude[items], AGREES, DIFFERS).astype(np.int8)
        scored = Scored(scores.raw_prob * scores.label_mass, scores.answer, seed)
        walked = walk(target_steps(scored, PROMISE, known), known)
        assert walked.end is not None, "Claude's answers are all known"
        is_accepted, by_chance = walked.end.is_accepted, np.zeros(len(items), np.bool_)
        by_chance[at_one_rate(walked.finished, scored.generator("held back"))] = True
        agreement = float((~is_accepted | (known == AGREES)).mean())
        return Played(float((~is_accepted).mean()), agreement, ~is_accepted, by_chance)

    def learnt(self, run: Played, items: Items, logprobs: Logprobs) -> Division:
        """What `read_labelled` finds in such a run, divided."""
        answers, sure = logprobs.argmax(axis=1), np.exp(logprobs.max(axis=1)).tolist()
        return divide(
            [
                replace(self.documents[item], is_uniform=bool(run.drawn_by_chance[row]))
                if run.asked[row] or self.source == "gold"
                else replace(self.documents[item], label=int(answers[row]), source="engine", sureness=sure[row])
                for row, item in enumerate(items.tolist())
            ]
        )

    def adapted(self, division: Division, labels: Sequence[int], plan: TrainingPlan) -> Any:
        """The base with an adapter trained on these labels of the division's documents."""
        examples = [Example(each.tokens, label) for each, label in zip(division.training, labels, strict=True)]
        folder = Path(tempfile.mkdtemp())
        frames = served_frames(self.question), shuffled_frames(self.question, plan.seed)
        network = train(load_network(self.model), examples, *frames, plan, folder)
        shutil.rmtree(folder)
        return network


def halves(world: World, seed: int) -> tuple[Items, Items]:
    """Run 1's documents and run 2's."""
    order = np.random.default_rng(seed).permutation(len(world.documents))
    return order[: len(order) // 2], order[len(order) // 2 :]


def one_seed(world: World, seed: int, kind: str) -> dict[str, Any]:
    """Run 1, the training, the gate, and run 2."""
    started_at, (first, second) = time.monotonic(), halves(world, seed)
    run = world.play(world.base[first], first, seed)
    division = world.learnt(run, first, world.base[first])
    labels = [each.label for each in division.training]
    if kind == SHUFFLED:
        labels = np.random.default_rng(seed).permutation(labels).tolist()
    network = world.adapted(division, labels, TrainingPlan(seed=seed))
    minutes = (time.monotonic() - started_at) / 60
    gate = gate_of(world, division, network, len(first), seed)
    found = {
        "seed": seed,
        "kind": kind,
        "source": world.source,
        "documents": len(world.documents),
        "run_1_asked": run.asked_share,
        "trained_on": len(labels),
        "held_back": gate.held_back,
        "minutes": minutes,
        "is_better": gate.is_better,
        "saved": [gate.saved_low, gate.saved, gate.saved_high],
        "expected": [gate.before.asked_share, gate.after.asked_share],
        "accuracy": [gate.before.accuracy, gate.after.accuracy],
        "calibration_error": [gate.before.calibration_error, gate.after.calibration_error],
    }
    return found | (run_2(world, network, second) if kind == ADAPTED else {})


def gate_of(world: World, division: Division, network: Any, documents: int, seed: int) -> Gate:
    """As `pipeline adapt` judges."""
    frames = served_frames(world.question)
    known = {document.item_id: place for place, document in enumerate(world.documents)}
    before = world.base[[known[each.item_id] for each in division.held_back]]
    after = served_logprobs(network, world.question, frames, division.held_back)
    return judge(before, after, np.array([each.label for each in division.held_back]), PROMISE, documents, seed)


def run_2(world: World, network: Any, items: Items) -> dict[str, Any]:
    """Many drawings of the rule over the other half, with the adapter and without."""
    scored = {"with": world.scored(network, items), "without": world.base[items]}
    found: dict[str, Any] = {}
    for which, logprobs in scored.items():
        played = [world.play(logprobs, items, seed) for seed in range(DRAWS)]
        found[f"run_2_asked_{which}"] = float(np.mean([each.asked_share for each in played]))
        found[f"run_2_kept_{which}"] = float(np.mean([each.agreement >= PROMISE.target for each in played]))
        found[f"run_2_accuracy_{which}"] = float((logprobs.argmax(axis=1) == world.claude[items]).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shuffled", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(".cache/adapters.jsonl"))
    parser.add_argument("--source", choices=["gold", "claude"], default="gold")
    parser.add_argument("--documents", type=int, default=ALL_DOCUMENTS)
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    of = arguments.source, arguments.documents
    done = read(arguments.out, *of)
    wanted = {ADAPTED: arguments.seeds, SHUFFLED: arguments.shuffled}
    left = [
        (seed, kind)
        for seed in range(max(wanted.values()))
        for kind, seeds in wanted.items()
        if seed < seeds and not any((row["seed"], row["kind"]) == (seed, kind) for row in done)
    ]
    world = World(*of) if left else None
    for seed, kind in left:
        assert world is not None
        with arguments.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(one_seed(world, seed, kind)) + "\n")
        show(read(arguments.out, *of))
    show(read(arguments.out, *of))


def read(path: Path, source: str, documents: int) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [row for row in map(json.loads, lines) if (row["source"], row["documents"]) == (source, documents)]


def show(rows: Sequence[dict[str, Any]]) -> None:
    adapted = [row for row in rows if row["kind"] == ADAPTED]
    shuffled = [row for row in rows if row["kind"] == SHUFFLED]
    table = Table(
        "seed",
        "asked, run 1",
        "run 2",
        "run 2, no adapter",
        "less than run 1",
        "kept",
        "accuracy",
        "saved, by the gate",
    )
    for row in adapted:
        less = 1 - row["run_2_asked_with"] / row["run_1_asked"]
        table.add_row(
            str(row["seed"]),
            f"{row['run_1_asked']:.1%}",
            f"{row['run_2_asked_with']:.1%}",
            f"{row['run_2_asked_without']:.1%}",
            f"{less:.0%}",
            f"{row['run_2_kept_with']:.0%}",
            f"{row['run_2_accuracy_without']:.1%} to {row['run_2_accuracy_with']:.1%}",
            "{1:.1%} ({0:.1%} to {2:.1%})".format(*row["saved"]) + ("" if row["is_better"] else ", refused"),
        )
    Console(width=140).print(table)
    if adapted:
        kept = np.mean([row["run_2_kept_with"] for row in adapted])
        print(
            f"the promise ({PROMISE.target:.2f} with {PROMISE.assurance:.0%}) kept in {kept:.1%} of "
            f"{DRAWS * len(adapted):,} drawings"
        )
    if shuffled:
        print(f"trained on shuffled labels: refused {sum(not row['is_better'] for row in shuffled)} of {len(shuffled)}")


if __name__ == "__main__":
    main()
