"""The job file: what a run is asked to do.

A YAML file is checked whole: every problem is reported at once, each with its line, and nothing has run yet.
Knows nothing of models, stores or clients; whether the named things exist is checked by `flows.preflight.surroundings`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipelines.documents.records import CsvMarks, RowColumns
from pipelines.documents.text_columns import text_columns
from pipelines.job.adaptation import Adapt
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job_places import OutputPlace, Place, refuse_unprintable
from pipelines.job.job_questions import Choose, JobQuestion
from pipelines.job.long_documents import LongDocuments
from pipelines.job.sections import (
    MOST_USD,
    Columns,
    Compute,
    Csv,
    Escalation,
    Evaluation,
    Limits,
    ModelSource,
    Policy,
    Quality,
    QualityOrOff,
    Results,
    Review,
    Section,
)
from pipelines.meant import did_you_mean
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, LabelOrder
from pipelines.tasks.code_review.prompts import DEFAULT_INSTRUCTIONS as REVIEW_INSTRUCTIONS
from pipelines.tasks.code_review.verification import VERDICT_CLEAN, VERDICT_FAULTY
from pipelines.tasks.label_names import LabelNames, problem_with_names

REVIEW_LABELS: dict[str, str | None] = {VERDICT_FAULTY: None, VERDICT_CLEAN: None}


def _accept_off(value: object) -> object:
    """YAML 1.1 reads a bare `off` as False; both mean: never send anything."""
    return None if value is False or value == "off" else value


_OFF = BeforeValidator(_accept_off, json_schema_input_type=Escalation | Literal["off", False] | None)


_OFF_QUALITY = BeforeValidator(
    lambda value: "off" if value is False else value, json_schema_input_type=Quality | Literal["off", False] | None
)
# Told apart by what is given, so that a mistake in one is not told of the other too.
_Model = Annotated[
    Annotated[str, Tag("~name")]
    | Annotated[ModelSource, Tag("~source")]
    | Annotated[ModelEndpoint, Tag("~endpoint")]
    | Annotated[None, Tag("~none")],
    Discriminator(lambda value: _model_tag(value)),
]
_OFF_MODEL = BeforeValidator(
    _accept_off, json_schema_input_type=str | ModelSource | ModelEndpoint | Literal[False] | None
)


def _model_tag(value: object) -> str:
    if isinstance(value, ModelEndpoint) or (isinstance(value, dict) and "endpoint" in value):
        return "~endpoint"
    return "~none" if value is None else "~source" if isinstance(value, dict | ModelSource) else "~name"


Dial = Literal["target", "budget", "raw_threshold", "off"]


class Job(Section):
    """Everything a run needs to know."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$", description="lower case, digits and dashes")
    task: Literal["classification", "code_review"]
    input: Place = Field(min_length=1, description="file, folder, glob or s3:// prefix; relative to where you run")
    output: OutputPlace = Field(min_length=1, description="folder or s3:// prefix; one folder per run is made below it")
    model: Annotated[_Model, _OFF_MODEL] = Field(
        description="a name from `pipeline models`, {source: ..., engine: {...}}, {endpoint: ..., name: ..., "
        "where: ...}, or `off`: all goes to Claude"
    )
    questions: dict[str, JobQuestion] | None = Field(
        None,
        min_length=1,
        exclude_if=lambda questions: questions is None,  # runs from before this field keep their id, here and below
        description="in the place of labels: several questions about each document, by name, each with labels of its "
        "own. The engine reads a document once for all of them",
    )
    labels: dict[str, str | None] = Field(
        description="label: what it means (or null); left out beside questions, and of a code review, whose answers "
        "are faulty and clean"
    )
    choose: Choose = Field(
        "one",
        exclude_if=lambda choose: choose == "one",
        description="`one` of the labels fits a document best; or `any` of them may: each is asked about by itself, "
        "yes or no, and has rows of its own",
    )
    label_order: LabelOrder = Field(
        "given",
        exclude_if=lambda order: order == "given",  # runs from before this field keep their id
        description="how the engine reads the labels: as `given`; `seeded`, in this order or its reverse, by the "
        "item's id; `averaged` over both, which is twice the engine's work. Claude always reads them as given",
    )
    instructions: str = Field(DEFAULT_INSTRUCTIONS, min_length=1, description="the question asked about each document")
    columns: Columns = Columns()
    csv: Csv | None = Field(
        None,
        exclude_if=lambda csv: csv is None,  # runs from before this field keep their id
        description="where the first rows of a CSV file do not tell how it is written",
    )
    duplicates: Literal["once", "keep"] = Field(
        "once",
        exclude_if=lambda duplicates: duplicates == "once",  # runs from before this field keep their id
        description="of a classification: documents of the same text are asked about `once`, and copies take the "
        "original's answer at no cost; `keep`: each is asked about by itself",
    )
    long_documents: LongDocuments | None = Field(
        None,
        exclude_if=lambda section: section is None,  # runs from before this field keep their id
        description="of a classification: what becomes of a document that the model cannot read at once; left out, the "
        "engine reads the beginning of it, and its row says so",
    )
    review: Review | None = Field(None, description="of a code review; left out where the input is diffs")
    escalation: Annotated[Escalation | None, _OFF] = Field(description="or `off`")
    budget_usd: Decimal | None = Field(
        None,
        ge=0,
        le=MOST_USD,
        description="the most that Claude may cost; beside a quality, what it does not reach for is held for review",
    )
    # After the two that it depends on.
    quality: Annotated[QualityOrOff | None, _OFF_QUALITY] = Field(
        None,
        validate_default=True,
        description="which answers of the engine stand; `off`: all. May be left out beside budget_usd",
    )
    policy: Policy = Policy()
    compute: Compute = Compute()
    evaluation: Evaluation | None = None
    limits: Limits = Limits()
    # Runs from before this field keep their id.
    results: Results = Field(Results(), exclude_if=lambda results: results == Results())
    adapt: Adapt | None = Field(
        None,
        exclude_if=lambda adapt: adapt is None,
        description="of a series (`--since-last`, schedules): how often its runs train an adapter for later ones",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_task_has_it(cls, content: object) -> object:
        """What a review need not say: its labels, its instructions, its section; and several questions, no labels."""
        if isinstance(content, dict) and content.get("questions") is not None:
            return {"labels": {}} | content
        if not isinstance(content, dict) or content.get("task") != "code_review":
            return content
        own = {"labels": REVIEW_LABELS, "instructions": REVIEW_INSTRUCTIONS, "review": {}}
        return content | {name: value for name, value in own.items() if content.get(name) is None}

    @model_validator(mode="after")
    def _task_fits(self) -> Job:
        faults_file = self.evaluation.faults_file if self.evaluation else None
        if self.task == "code_review" and self.asks_several:
            raise ValueError("questions and choose go with task: classification; leave them out of a code review")
        if self.task == "code_review" and self.labels != REVIEW_LABELS:
            raise ValueError("labels: a code review answers faulty or clean; leave labels out")
        if self.task == "classification" and (self.review or faults_file):
            raise ValueError("review and evaluation.faults_file go with task: code_review")
        if self.label_order != "given" and (self.task == "code_review" or self.model is None):
            raise ValueError("label_order goes with an engine that classifies; here none reads labels: leave it out")
        return self

    @model_validator(mode="after")
    def _long_documents_fit(self) -> Job:
        if self.long_documents is None:
            return self
        if self.task == "code_review":
            raise ValueError("long_documents: a code review is cut into pieces as it is; leave it out")
        if self.model is None:
            raise ValueError("long_documents is of what an engine reads, and model is `off`; leave it out")
        if isinstance(self.model, ModelEndpoint):
            raise ValueError(
                "long_documents: a first tier over HTTP is shown the beginning of what is too long for it, and its row "
                "says so; leave it out, or give model a name or a source, for an engine of its own"
            )
        absent = self.long_documents.absent
        if absent is not None and absent not in self.labels:
            raise ValueError(
                f"long_documents.absent: '{absent}' is no label{did_you_mean(absent, self.labels)}; use a label's name"
            )
        return self

    @model_validator(mode="after")
    def _questions_fit(self) -> Job:
        if not self.asks_several:
            return self
        if self.questions and self.choose == "any":
            raise ValueError("choose: beside questions, say it in each of them")
        if self.evaluation and self.evaluation.gold_file and self.questions:
            raise ValueError(
                "evaluation.gold_file: holds the answers to one question; give evaluation in each of the questions"
            )
        return self

    @property
    def asks_several(self) -> bool:
        """Whether more than one thing is asked about a document; see `pipelines.job.question_jobs`."""
        return self.questions is not None or self.choose == "any"

    @model_validator(mode="after")
    def _only_rows_carry(self) -> Job:
        if self.columns.carry and self.review and (self.review.revisions or self.review.tree):
            raise ValueError("columns.carry goes with rows: commits and source files have no columns; leave it out")
        return self

    @model_validator(mode="after")
    def _first_tier_fits(self) -> Job:
        if not isinstance(self.model, ModelEndpoint):
            return self
        if self.task == "code_review" and self.model.api not in (None, "openai"):
            raise ValueError(
                f"model.api: a code review is asked by token ids, of vLLM's /v1/completions, and not by "
                f"`{self.model.api}`; give `openai`, or leave api out"
            )
        if self.label_order != "given":
            raise ValueError("label_order: a first tier over HTTP reads the labels as given; leave it out")
        if self.compute != Compute():
            raise ValueError(
                "compute: is of engines, and a first tier over HTTP has none here: leave it out; model.price says "
                "what its tokens cost, model.requests_at_once how many it is asked at a time"
            )
        return self

    @model_validator(mode="after")
    def _can_adapt(self) -> Job:
        if self.adapt is None:
            return self
        if self.model is None or isinstance(self.model, ModelEndpoint):
            raise ValueError("adapt: no engine of this job's own answers, so there is no model to adapt; leave it out")
        if not isinstance(self.quality, Quality) or self.quality.target is None:
            raise ValueError("adapt: an adapter is judged at the job's target; give quality.target, or leave adapt out")
        if self.quality.term_items is not None:
            raise ValueError(
                "adapt: an adapter is judged by what it spares runs that keep their promise alone; leave adapt out, or "
                "quality.term_items"
            )
        return self

    @field_validator("quality")
    @classmethod
    def _quality_can_be_kept(
        cls, quality: Quality | Literal["off"] | None, others: ValidationInfo
    ) -> Quality | Literal["off"] | None:
        if not {"model", "escalation", "budget_usd"} <= others.data.keys():  # faulty themselves
            return quality
        if others.data.get("questions"):  # each of them is checked with what it takes from here
            return quality
        model, escalation, budget_usd = (others.data[name] for name in ("model", "escalation", "budget_usd"))
        if model is None:
            if quality is not None:
                raise ValueError("model is `off`: there are no answers of an engine to accept; leave quality out")
        elif quality is None and (escalation is None or budget_usd is None):
            raise ValueError("missing; give a target, a raw_threshold or `off`, or a budget_usd for Claude")
        elif isinstance(quality, Quality) and quality.target is not None and escalation is None:
            raise ValueError("a target is kept by asking Claude: set escalation, or give a raw_threshold")
        elif quality == "off" and escalation is not None:
            raise ValueError("`off` accepts every answer of the engine: set escalation to `off` too")
        if isinstance(quality, Quality) and quality.term_items is not None and budget_usd is not None:
            raise ValueError(
                "term_items: a run that a budget stops would be counted in its term half asked; leave budget_usd or "
                "term_items out"
            )
        return quality

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: dict[str, str | None], others: ValidationInfo) -> dict[str, str | None]:
        if others.data.get("questions", True):  # given, or faulty themselves
            if labels:
                raise ValueError("labels stand in each of the questions; leave them out here")
            return labels
        if len(labels) < 2:
            raise ValueError(f"at least 2 labels are needed, {len(labels)} given; there is nothing to decide")
        if problem := problem_with_names(labels):
            raise ValueError(problem)
        for text in [*labels, *filter(None, labels.values())]:
            refuse_unprintable(text)
        return labels

    @field_validator("instructions")
    @classmethod
    def _check_instructions(cls, instructions: str) -> str:
        refuse_unprintable(instructions)
        return instructions

    @model_validator(mode="after")
    def _pass_on_names_labels(self) -> Job:
        if self.asks_several:  # whose labels are others
            return self
        tiers = self.escalation.tiers if self.escalation else ()
        known = LabelNames(self.labels)
        strangers = {name for tier in tiers for name in tier.pass_on if known.find(name) is None}
        if strangers:
            names = ", ".join(f"'{name}'" for name in sorted(strangers))
            meant = did_you_mean(min(strangers), self.labels)
            raise ValueError(
                f"escalation.tiers: pass_on names {names}, which is no label{meant}; use the labels' names"
            )
        return self

    @model_validator(mode="after")
    def _somebody_answers(self) -> Job:
        if self.model is None and self.escalation is None:
            raise ValueError("model and escalation are both `off`: nobody is left to answer")
        return self

    @model_validator(mode="after")
    def _simulation_needs_gold(self) -> Job:
        if self.questions:
            return self
        if self.escalation and self.escalation.provider == "simulation" and self.evaluation is None:
            if self.task == "code_review":
                raise ValueError(
                    "escalation.provider `simulation` answers from known faults: give evaluation.faults_file, or set "
                    "escalation to `off` or its provider to `anthropic`"
                )
            raise ValueError(
                "escalation.provider `simulation` answers from gold labels: give evaluation.gold_column or "
                "evaluation.gold_file, or set escalation to `off` or its provider to `anthropic`"
            )
        return self

    def row_columns(self, attributes: frozenset[str] = frozenset()) -> RowColumns:
        """What the readers of rows need to know; ``attributes`` are the columns that a policy looks at."""
        return RowColumns(
            text=text_columns(self.columns.text),
            id=self.columns.id,
            gold=None if self.asks_several else next(iter(self.gold_columns), None),
            attributes=attributes.union(self.gold_columns) if self.asks_several else attributes,
            carried=self.columns.carry,
            csv=CsvMarks(**self.csv.model_dump()) if self.csv else CsvMarks(),
        )

    @property
    def gold_columns(self) -> list[str]:
        """The columns of the input that hold known answers: one, or, of several questions, one of each."""
        told = [each.evaluation or self.evaluation for each in (self.questions or {}).values()] or [self.evaluation]
        return list(dict.fromkeys(each.gold_column for each in told if each and each.gold_column))

    @property
    def provider(self) -> str | None:
        """Who answers for Claude, one for all questions whatever models each names; None: nobody is asked."""
        given = [self.escalation, *(each.escalation for each in (self.questions or {}).values())]
        return next((each.provider for each in given if isinstance(each, Escalation)), None)

    @property
    def reviews(self) -> Review:
        """The section of a code review."""
        assert self.review is not None
        return self.review

    @property
    def dial(self) -> Dial:
        """What decides which of the engine's answers stand."""
        if self.quality == "off" or self.model is None:
            return "off"
        if self.quality is None:
            return "budget"
        return "raw_threshold" if self.quality.target is None else "target"
