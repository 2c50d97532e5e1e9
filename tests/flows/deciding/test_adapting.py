"""`pipeline adapt` from complete runs to files, with a made-up training: what is read, judged, written and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.deciding import lessons
from flows.deciding.adapting import adapt
from flows.deciding.run_labels import read_labelled
from flows.run import open_run
from pipelines.adapting import gate as gate_module
from pipelines.adapting.labels import Source, divide
from pipelines.errors import JobError
from pipelines.job.sections import ModelSource
from pipelines.store import layout
from pipelines.store.objects import Store
from tests.adapter_files import write_adapter
from tests.faults.conftest import cases_in
from tests.faults.escalation_case import LABELS, prepare, quiet
from tests.faults.test_quality import TARGET, record_of, settled
from tests.flows.command_case import Command, command
from workers.engines.catalogue import resolve_model

__all__ = ["command"]

# The local service is started, torch imported, and both warn.
pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore")]

BOTH: tuple[Source, ...] = ("gold", "claude")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A complete run with a target."""
    with cases_in(tmp_path_factory.mktemp("adapting")) as make:
        case = make(600, is_informed=True, quality=TARGET, escalation={"chunk_items": 400})
        assert settled(case).is_done
        Store(case.root).create(layout.COMPLETE, b"{}")
        yield case.root
        assert record_of(case)  # the store is still there


def test_what_may_not_be_sent_teaches_nothing(tmp_path: Path) -> None:
    with cases_in(tmp_path) as make:
        learnt = {
            policy: list(
                read_labelled(open_run(make(6, folder=policy, policy={"never_escalate": policy}).root), ["gold"])
            )
            for policy in ("true", "false")
        }
    assert (len(learnt["true"]), len(learnt["false"])) == (0, 6)


@pytest.fixture
def made_up_training(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The base is right about half of what is held back; the adapter, about as much as a test says."""
    told: dict[str, Any] = {"accuracy": 0.95, "trained": []}

    def score(network: Any, question: Any, served: Any, documents: Any, on_scored: Any = None) -> Any:
        accuracy = 0.5 if network == "base" else told["accuracy"]
        random = np.random.default_rng(0)
        shares = np.full((len(documents), len(LABELS)), 0.04)
        for row, each in enumerate(documents):
            is_right = random.random() < accuracy
            shares[row, each.label if is_right else (each.label + 1) % len(LABELS)] = 0.9 if is_right else 0.6
        return np.log(shares)

    def train(network: Any, examples: Any, *_: Any) -> str:
        told["trained"].append(len(examples))
        return "adapted"

    monkeypatch.setattr("workers.adapting.network.load_network", lambda model: "base")
    monkeypatch.setattr("workers.adapting.training.train", train)
    monkeypatch.setattr(
        "workers.adapting.training.adapter_files", lambda network, folder: write_adapter(folder, strength=0.1)
    )
    monkeypatch.setattr(lessons, "served_logprobs", score)
    monkeypatch.setattr(gate_module, "DRAWS", 8)
    return told


def refusal(*runs: str, output: Path, sources: tuple[Source, ...] = BOTH, target: float | None = None) -> str:
    with pytest.raises(JobError) as caught:
        adapt(runs, str(output), sources, target, 0, quiet())
    return str(caught.value)


def test_claudes_answers_to_documents_drawn_by_chance_are_held_back(run: str) -> None:
    opened = open_run(run)
    certificate = json.loads(Path(run, layout.RULE).read_text())["certificate"]
    division = divide(list(read_labelled(opened, ["claude"])))
    held, labelled = len(division.held_back), len(division.held_back) + len(division.training)
    assert certificate["sample"] <= held < labelled, "the sample, and of what was asked besides as large a share"
    assert division.counts["held_back"].keys() == {"claude"}
    assert division.counts["training"].keys() == {"claude", "engine"}


def test_gold_is_believed_before_claude_and_nothing_of_claudes_is_read_unless_named(run: str) -> None:
    opened = open_run(run)
    gold = list(read_labelled(opened, ["gold", "people"]))
    assert {each.source for each in gold} == {"gold"}
    assert len(gold) == 600
    assert {each.source for each in read_labelled(opened, BOTH)} == {"gold"}
    assert {each.source for each in read_labelled(opened, ["people"])} == {"engine"}


def test_an_adapter_that_passes_the_gate_is_written_with_its_card_and_can_be_served(
    run: str, tmp_path: Path, made_up_training: dict[str, Any]
) -> None:
    done = adapt([run], str(tmp_path / "adapter"), ["gold", "people"], None, 7, quiet())
    assert done.gate.is_better
    assert made_up_training["trained"] == [done.label_counts["training"]["gold"]]
    model = resolve_model(ModelSource(source="starter", adapter=str(tmp_path / "adapter")))
    assert model.adapter
    card = json.loads((tmp_path / "adapter/adapter_card.json").read_text())
    assert card["base_revision"] == model.base_revision == resolve_model("starter").revision
    assert (card["target"], card["assurance"], card["settings"]["seed"]) == (0.9, 0.9, 7)
    assert card["runs"] == ["run"]
    assert card["gate"]["saved_low"] > 0
    assert not card["terms"]
    assert "95 % interval" in (tmp_path / "adapter/README.md").read_text()
    assert f"there is an adapter in '{tmp_path}/adapter' already" in refusal(run, output=tmp_path / "adapter")


def test_an_adapter_that_does_not_pass_leaves_nothing_and_says_so(
    run: str, tmp_path: Path, made_up_training: dict[str, Any], command: Command
) -> None:
    made_up_training["accuracy"] = 0.45
    assert command("adapt", run, "-o", str(tmp_path / "adapter"), "--from", "gold", "--json").code == 1
    done = adapt([run], str(tmp_path / "adapter"), ["gold"], 0.9, 0, quiet())
    assert done.adapter is None and not done.gate.is_better
    assert not (tmp_path / "adapter").exists()


def test_a_run_that_cannot_teach_is_refused_with_the_next_move(run: str, tmp_path: Path) -> None:
    output = tmp_path / "adapter"
    prepare(tmp_path / "open", 30)
    opened = str(tmp_path / "open/run")
    told = refusal(run, opened, output=output)
    assert "run: is not complete; bring it to its end first (pipeline resume run)" in told
    Store(opened).create(layout.COMPLETE, b"{}")
    assert "run: has no target at which an adapter could be judged; give one with --target" in refusal(
        opened, output=output
    )
    few = refusal(opened, output=output, sources=("people",), target=0.9)
    assert "0 labels to train on, 100 are needed and 0 labels of documents drawn by chance" in few
    assert "--from gold,people,claude takes Claude's answers too" in few
    prepare(tmp_path / "other", 30, labels={"billing": "about money", "outage": None, "delivery": None})
    Store(str(tmp_path / "other/run")).create(layout.COMPLETE, b"{}")
    assert "asks another question than run (task, labels or instructions); leave it out" in refusal(
        run, str(tmp_path / "other/run"), output=output
    )
    assert not output.exists()


def test_without_the_extra_what_is_missing_and_what_brings_it_is_told(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.adapting.installed.find_spec", lambda name: None if name == "peft" else object())
    assert "peft must be installed for it: pip install 'sluice[adapt]'" in refusal(run, output=tmp_path / "adapter")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--from", "gold,bob"], "some of gold, people, claude"), (["--target", "2"], "a share over 0 and at most 1")],
)
def test_options_that_say_nothing_are_bad_usage(run: str, command: Command, arguments: list[str], told: str) -> None:
    result = command("adapt", run, "-o", "adapter", *arguments)
    assert result.code == 2
    assert told in " ".join((result.out + result.err).replace("│", " ").split())
