"""`pipeline adapt`: from the labels of complete runs to a LoRA adapter, if it would have the rule ask less.

    runs ──> labels ──> training | held back ──> train ──> gate ──> adapter and its card, or none

Training leaves checkpoints in the state folder; the same command after a kill goes on from the last one. The adapter's
own files are written last, and only through the gate. torch and peft are imported when there is something to train.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.console.progress import ProgressReporter
from flows.deciding.decisions import DEFAULT_ASSURANCE, promise_of
from flows.deciding.lessons import Lesson, lesson_of
from flows.questions.code_review import ReviewQuestion
from flows.questions.long_documents import reads_in_windows
from flows.questions.several import OneOfSeveral, SeveralQuestions
from flows.run import Run, open_run
from flows.stages.planning import read_plan
from pipelines.adapting.card import Card
from pipelines.adapting.gate import DRAWS, LEAST_LABELS, Gate, Logprobs, judge
from pipelines.adapting.labels import Division, Source, divide
from pipelines.cascade.rule.target import Target
from pipelines.errors import JobError
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.objects import Store
from workers.adapting.installed import check_installed
from workers.engines.adapters import CARD, CONFIG, WEIGHTS
from workers.engines.catalogue import ResolvedModel

if TYPE_CHECKING:
    from workers.adapting.training import TrainingPlan

MARKDOWN = "README.md"
_LEAST_TRAINING = 100
_VERSIONED = ("sluice", "torch", "peft", "transformers")


@dataclass(frozen=True)
class Adapted:
    """How it ended. ``adapter`` is None where the gate was not passed: then nothing was written."""

    adapter: str | None
    base: str
    gate: Gate
    label_counts: dict[str, dict[str, int]]

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self) | {"is_better": self.gate.is_better}


def adapt(
    runs: Sequence[str],
    output: str,
    sources: Sequence[Source],
    target: float | None,
    seed: int,
    progress: ProgressReporter,
) -> Adapted:
    """Train an adapter from what runs have learnt, judge it, and write it if it is better.

    Args:
        runs: ids or URIs of complete runs that asked the same question of the same base.
        output: folder or s3:// place for the adapter.
        sources: whose labels teach.
        target: at which it is judged; by default that of the newest run.
        seed: of the training and of the draws by which it is judged.
        progress: hears how far it is.

    Raises:
        JobError: the runs cannot be learnt from together, or not enough is known; nothing is trained.
        RunNotFoundError: there is no such run.
    """
    check_installed()
    _check_output(output)
    opened = sorted((open_run(run) for run in runs), key=lambda run: run.record.created_at)
    problems = [problem for run in opened if (problem := _problem(run, opened[-1]))]
    if problems:
        raise JobError(problems, source="what is to be learnt from")
    newest = opened[-1]
    promise = _promise(newest, target)
    lesson = lesson_of(newest.question)
    division = divide([each for run in opened for each in lesson.read(run, sources)])
    counts = lesson.counts(division)
    _check_counts(counts, sources)
    _say_what_is_used(counts, progress)
    if any(reads_in_windows(run.job) for run in opened):
        progress.say("labels    of documents that were read in windows are left out: no window holds all of one")
    from workers.adapting.training import TrainingPlan

    plan = TrainingPlan.for_width(_width(newest.model), seed)
    return _Adapting(opened, lesson, promise, division, plan, output, progress).run()


def _check_output(output: str) -> None:
    # A store makes the folder that it is given: nothing is made before there is an adapter.
    if Store(output).exists(CONFIG) if "://" in output else (Path(output) / CONFIG).exists():
        raise JobError([f"-o: there is an adapter in '{output}' already; name another place"])


def _problem(run: Run, newest: Run) -> str | None:
    """Why this run's labels cannot teach what the newest run asks; None if they can."""
    if isinstance(run.question, SeveralQuestions | OneOfSeveral):
        return f"{run.run_id}: asks several questions; adapters are trained for jobs that ask one"
    if run.question.model is None:
        return f"{run.run_id}: no engine read its documents (model: off); there is nothing to adapt"
    if run.record.first_tier is not None:
        return f"{run.run_id}: a server answered first (model.endpoint), and its weights are not here; leave it out"
    if isinstance(run.question, ReviewQuestion) and run.model.adapter and not run.model.adapter.is_for_verification:
        return f"{run.run_id}: its reviews were written with an adapter of another kind; run its job without that one"
    if not run.store.exists(layout.COMPLETE):
        return f"{run.run_id}: is not complete; bring it to its end first (pipeline resume {run.run_id})"
    if (run.model.revision, run.question.fingerprint) != (run.record.model_revision, run.record.prompt_fingerprint):
        return f"{run.run_id}: its model or prompt is another one by now; run its job again, and learn from that run"
    if newest.question.model is None:
        return None  # told of that one
    if run.model.base_revision != newest.model.base_revision:
        return (
            f"{run.run_id}: its base is {run.model.name}, that of {newest.run_id} is {newest.model.name}; leave it out"
        )
    if run.question.engine_fingerprint != newest.question.engine_fingerprint:
        return f"{run.run_id}: asks another question than {newest.run_id} (task, labels or instructions); leave it out"
    return None


def _promise(run: Run, target: float | None) -> Target:
    of_run = promise_of(run)
    if target is not None:
        return Target(target, of_run.assurance if of_run else DEFAULT_ASSURANCE)
    if of_run is None:
        raise JobError([f"{run.run_id}: has no target at which an adapter could be judged; give one with --target"])
    return of_run


def _check_counts(counts: dict[str, dict[str, int]], sources: Sequence[Source]) -> None:
    trained, held_back = (sum(counts[name].values()) for name in ("training", "held_back"))
    problems = []
    if trained < _LEAST_TRAINING:
        problems.append(f"{trained} labels to train on, {_LEAST_TRAINING} are needed")
    if held_back < LEAST_LABELS:
        problems.append(f"{held_back} labels of documents drawn by chance to judge by, {LEAST_LABELS} are needed")
    if problems:
        more = "" if "claude" in sources else "; --from gold,people,claude takes Claude's answers too, see --help"
        raise JobError([f"labels: {' and '.join(problems)}; name more runs{more}"], source="what is to be learnt from")


def _say_what_is_used(counts: dict[str, dict[str, int]], progress: ProgressReporter) -> None:
    for name, by_source in counts.items():
        told = ", ".join(f"{count:,} {source}" for source, count in by_source.items())
        progress.say(f"labels    {told}: {'trained on' if name == 'training' else 'held back to judge by'}")


class _Adapting:
    """One training and its judgement."""

    def __init__(
        self,
        runs: Sequence[Run],
        lesson: Lesson,
        promise: Target,
        division: Division,
        plan: TrainingPlan,
        output: str,
        progress: ProgressReporter,
    ) -> None:
        self._runs, self._newest, self._lesson = runs, runs[-1], lesson
        self._promise, self._division, self._plan = promise, division, plan
        self._output, self._progress = output, progress
        self._counts, self._examples = lesson.counts(division), lesson.examples(division.training)

    def run(self) -> Adapted:
        """Train, judge, write."""
        from workers.adapting.network import device, load_network
        from workers.adapting.training import adapter_files

        model, started_at = self._newest.model, time.monotonic()
        network = load_network(model)
        before = self._before(network)
        adapted = self._train(network)
        seconds = time.monotonic() - started_at
        gate = self._judge(before, self._score(adapted, "after"))
        done = Adapted(self._output if gate.is_better else None, _base_name(model), gate, self._counts)
        if not gate.is_better:
            return done
        card = self._card(gate, seconds, str(device()))
        with tempfile.TemporaryDirectory() as folder:
            adapter_files(adapted, Path(folder))
            store = Store(self._output)
            store.create(WEIGHTS, (Path(folder) / WEIGHTS).read_bytes())
            store.create(MARKDOWN, card.as_markdown().encode())
            store.create(CARD, card.as_json().encode())
            store.create(CONFIG, (Path(folder) / CONFIG).read_bytes())  # last: without it, it is no adapter
            store.clear_staging()
        return done

    def _before(self, network: Any) -> Logprobs:
        """What the model of the newest run says of the held-back documents, its adapter included."""
        adapter = self._newest.model.adapter
        if adapter is None:
            return self._score(network, "before")
        from workers.adapting.training import with_adapter

        with with_adapter(network, adapter.folder) as served:
            return self._score(served, "before")

    def _train(self, network: Any) -> Any:
        from workers.adapting.training import train

        examples, shuffled = self._examples, self._lesson.shuffled(self._plan.seed)
        steps = self._plan.steps(len(examples))
        with self._progress.stage("train", "steps") as stage:

            def on_step(done: int) -> None:
                if stage.total is None:
                    stage.becomes_known(steps, before=done)
                else:
                    stage.advance(1)

            folder = settings().state_dir / "adapting" / self._key()
            return train(network, examples, self._lesson.served, shuffled, self._plan, folder, on_step)

    def _score(self, network: Any, which: str) -> Logprobs:
        held = self._division.held_back
        with self._progress.stage(f"score {which}", "prompts", self._lesson.prompts(held)) as stage:
            return self._lesson.logprobs(network, held, stage.advance)

    def _judge(self, before: Logprobs, after: Logprobs) -> Gate:
        labels = np.array([each.label for each in self._division.held_back], np.int64)
        plan = read_plan(self._newest)
        assert plan is not None
        with self._progress.stage("judge", "draws", DRAWS) as stage:
            seed = self._plan.seed
            return judge(before, after, labels, self._promise, plan.scorable_items, seed, stage.advance)

    def _key(self) -> str:
        """Of this very training: what a checkpoint may be gone on from."""
        learnt = [[each.label, each.tokens.tolist()] for each in self._examples]
        frames = [frame.frame.fingerprint for frame in self._lesson.served]
        asked = [self._newest.model.base_revision, frames, asdict(self._plan), learnt]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]

    def _card(self, gate: Gate, seconds: float, where: str) -> Card:
        model = self._newest.model
        return Card(
            created_at=datetime.now(UTC),
            base=_base_name(model),
            base_revision=model.base_revision,
            before=model.name,
            before_revision=model.revision,
            task=self._lesson.task,
            labels=self._lesson.answers,
            prompt_fingerprint=self._newest.question.engine_fingerprint,
            runs=tuple(run.run_id for run in self._runs),
            label_counts=self._counts,
            target=self._promise.target,
            assurance=self._promise.assurance,
            settings=asdict(self._plan),
            training_seconds=seconds,
            device=where,
            versions=_versions(),
            gate=gate,
        )


def _width(model: ResolvedModel) -> int:
    config = json.loads((model.files / "config.json").read_text(encoding="utf-8"))
    return int(config.get("text_config", config)["hidden_size"])


def _base_name(model: ResolvedModel) -> str:
    return model.name.partition(" + ")[0]


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
