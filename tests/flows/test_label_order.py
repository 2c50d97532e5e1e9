"""What a run remembers of the order its labels are read in, and what it then refuses to mix."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.questions.classification import LabelQuestion
from flows.run import open_run, prepare_run
from pipelines.cascade.confidence import Calibration
from pipelines.documents.sources.sources import list_sources
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.tasks.classification import LabelOrder, PromptFrame
from tests.flows.service.series_case import drop, tickets_job
from workers.engines.catalogue import ResolvedModel, resolve_model
from workers.engines.tokens import ModelTokenizer, TokenFrame

# transformers warns about itself while it loads
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_state")]

ORDERS: list[LabelOrder] = ["given", "seeded", "averaged"]


def job_in(tmp_path: Path, order: LabelOrder) -> Job:
    return tickets_job(tmp_path, model="starter", label_order=order)


def question(tmp_path: Path, order: LabelOrder, calibration: Calibration | None = None) -> LabelQuestion:
    model = resolve_model("starter")
    changed = ResolvedModel(model.name, model.weights, model.revision, model.files, model.engine, calibration)
    return LabelQuestion(job_in(tmp_path, order), changed)


def test_each_order_is_another_question(tmp_path: Path) -> None:
    asked = [question(tmp_path, order) for order in ORDERS]
    assert asked[0].engine_fingerprint == asked[0].frame.fingerprint
    assert len({each.fingerprint for each in asked}) == 3
    assert len({each.claude_system_prompt for each in asked}) == 1, "Claude reads the labels as given"


def test_only_another_order_than_given_has_a_second_prompt(tmp_path: Path) -> None:
    given, seeded, averaged = (question(tmp_path, order) for order in ORDERS)
    assert given.two_orders is None
    assert seeded.two_orders is not None and averaged.two_orders is not None
    assert (seeded.two_orders.label_order, averaged.two_orders.label_order) == ("seeded", "averaged")
    reverse = seeded.two_orders.reversed_frame
    assert reverse == averaged.two_orders.reversed_frame == seeded.tokenizer.encode_frame(seeded.reversed_prompt)
    assert reverse.codes == seeded.frame.codes
    assert reverse.prefix != seeded.frame.prefix
    assert reverse.suffix == seeded.frame.suffix


def test_documents_are_cut_to_fit_the_longer_of_both_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode_frame(_: ModelTokenizer, frame: PromptFrame) -> TokenFrame:
        return TokenFrame((0,) * (100 if "A. billing" in frame.before else 120), (0,), (1, 2))

    monkeypatch.setattr(ModelTokenizer, "encode_frame", encode_frame)
    context = 2048
    rooms = {order: question(tmp_path, order).document_tokens for order in ORDERS}
    assert rooms == {"given": context - 101 - 1, "seeded": context - 121 - 1, "averaged": context - 121 - 1}


@pytest.mark.parametrize("order", ORDERS)
def test_a_calibration_holds_for_the_order_it_was_fitted_for(tmp_path: Path, order: LabelOrder) -> None:
    fitted = Calibration(
        method="temperature",
        temperature=2.0,
        fitted_on=100,
        prompt_fingerprint=question(tmp_path, order).engine_fingerprint,
        labels=("billing", "outage"),
        model_sha256="",
    )
    holds = {other: question(tmp_path, other, fitted).calibration is not None for other in ORDERS}
    assert holds == {other: other == order for other in ORDERS}


def test_a_run_goes_on_in_the_order_it_was_begun_with(tmp_path: Path) -> None:
    job = job_in(tmp_path, "seeded")
    drop(tmp_path, "a")
    run = prepare_run(job, list_sources(job.input), "mine")
    again = open_run(run.store.root)
    assert again.job.label_order == "seeded"
    assert again.question.two_orders == run.question.two_orders is not None
    assert prepare_run(job, list_sources(job.input), "mine").record == run.record


@pytest.mark.parametrize(("begun", "other"), [("given", "seeded"), ("seeded", "averaged"), ("averaged", "given")])
def test_another_order_under_the_same_run_id_is_refused(tmp_path: Path, begun: LabelOrder, other: LabelOrder) -> None:
    job = job_in(tmp_path, begun)
    drop(tmp_path, "a")
    prepare_run(job, list_sources(job.input), "mine")
    changed = job_in(tmp_path, other)
    with pytest.raises(JobError) as caught:
        prepare_run(changed, list_sources(changed.input), "mine")
    assert caught.value.problems == [
        "run id 'mine' is taken by a run with another prompt fingerprint; choose another --run-id or leave it out"
    ]


def test_each_order_is_a_run_of_its_own(tmp_path: Path) -> None:
    jobs = [job_in(tmp_path, order) for order in ORDERS]
    drop(tmp_path, "a")
    assert len({prepare_run(job, list_sources(job.input)).run_id for job in jobs}) == 3
