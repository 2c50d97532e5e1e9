"""The job file: what a run is asked to do.

A YAML file is checked whole: every problem is reported at once, each with its line, and nothing has run yet.
Knows nothing of models, stores or clients; whether the named things exist is checked by `flows.preflight.surroundings`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipelines.cascade.policy import EscalationPolicy
from pipelines.job.engine_arguments import EngineArguments
from pipelines.job.job_places import OutputPlace, Place, refuse_unprintable
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, LabelOrder
from pipelines.tasks.code_review.prompts import DEFAULT_INSTRUCTIONS as REVIEW_INSTRUCTIONS
from pipelines.tasks.code_review.verification import VERDICT_CLEAN, VERDICT_FAULTY
from pipelines.tasks.label_names import LabelNames, problem_with_names

REVIEW_LABELS: dict[str, str | None] = {VERDICT_FAULTY: None, VERDICT_CLEAN: None}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# What the money columns, decimal128(20, 12), hold of one row; a device's price is bounded so that hours of it fit.
_MOST_USD = 99_999_999
_MOST_DEVICE_HOUR_USD = 10_000
_MOST_ENGINES = 10_000


class ModelSource(_Section):
    """A model that is not in the catalogue."""

    source: Place = Field(min_length=1, description="Hugging Face id or local folder")
    revision: str | None = Field(None, description="commit of the Hugging Face repository; pin it")
    engine: EngineArguments = Field(
        default_factory=dict, description="vLLM engine arguments, over the device's defaults"
    )


class Review(_Section):
    """Of a code review: what its documents are, and what is reported of them.

    Without ``revisions`` and ``tree`` the input is diffs: .diff and .patch files, or rows with a diff each.
    """

    revisions: str | None = Field(
        None,
        min_length=1,
        description="`input` is a git repository: review these commits, A..B or one for all before it",
    )
    unit: Literal["commit", "file"] = Field("commit", description="with revisions: what is one document")
    tree: bool = Field(False, description="`input` is a source tree: review its files, as they are")
    revision: str | None = Field(
        None, min_length=1, description="with tree: `input` is a git repository, review its files as of this revision"
    )
    threshold: float = Field(0.5, ge=0, le=1, description="findings less sure than this are kept and not reported")
    max_output_tokens: int | None = Field(
        None,
        ge=64,
        le=1_000_000,
        description="of the engine's answer to one piece; default: a quarter of the context, 2048 at most",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Review:
        if self.revisions and self.tree:
            raise ValueError("give either revisions, for commits, or tree, for whole files")
        if self.revision and not self.tree:
            raise ValueError("revision goes with tree; for commits, give revisions")
        if self.unit == "file" and not self.revisions:
            raise ValueError("unit goes with revisions")
        return self


class Columns(_Section):
    """Which columns of JSONL, CSV and Parquet inputs hold what."""

    text: str = Field("text", min_length=1)
    id: str = Field("id", min_length=1, description="absent ids become path:line")


class Quality(_Section):
    """When the engine's own answer is good enough: a ``target``, which is kept, or a ``raw_threshold``, which is not.

    Without either, ``budget_usd`` alone is the dial: it is spent where the engine is likeliest to be wrong.
    """

    target: float | None = Field(
        None, gt=0, le=1, description="share of documents whose answer is the one that Claude would give, e.g. 0.95"
    )
    assurance: float = Field(
        0.95, ge=0.5, lt=1, description="how sure of the target: the chance that a run keeps it, over its own drawing"
    )
    raw_threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        description="accept the engine's label when the probability it gave it (share among the labels times "
        "label mass) is at least this; a raw threshold keeps no promise about quality",
    )
    audit_items: int = Field(
        50,
        ge=0,
        le=10_000_000,
        description="with a target: how many accepted documents, drawn at random, Claude looks at afterwards",
    )

    @model_validator(mode="after")
    def _one_dial(self) -> Quality:
        if (self.target is None) == (self.raw_threshold is None):
            raise ValueError("give either target or raw_threshold")
        return self


class Tier(_Section):
    """One Claude model that may be asked."""

    model: str = Field(min_length=1, description="a Claude model id, e.g. claude-haiku-5-5")
    max_output_tokens: int = Field(1024, ge=16, le=64_000, description="thinking included")
    pass_on: tuple[str, ...] = Field(
        (), description="labels that, when this tier gives them, send the item on to the next tier all the same"
    )


class Escalation(_Section):
    """Where doubtful items go: Claude, through the Message Batches API.

    Either one ``model``, or several ``tiers`` in order of price: an item that a tier leaves without an answer, or
    answers with one of its ``pass_on`` labels, goes on to the next.
    """

    model: str | None = Field(None, min_length=1, description="a Claude model id; short for a single tier")
    max_output_tokens: int = Field(1024, ge=16, le=64_000, description="of `model`; thinking included")
    tiers: tuple[Tier, ...] = Field((), description="models in the order in which they are asked")
    provider: Literal["anthropic", "aws", "google_cloud", "bedrock", "simulation"] = Field(
        "anthropic",
        description="`anthropic`, Claude Platform on `aws` or `google_cloud`, and `bedrock` batch jobs spend money; "
        "`simulation` is the local stand-in, which answers from gold labels",
    )
    chunk_items: int = Field(
        4_000, ge=1, le=100_000, description="items per message batch: the most that one mistake can cost"
    )
    inference_geo: Literal["us", "global"] | None = Field(
        None, description="where Claude may run; `us` costs a tenth more. There is no EU value"
    )
    delete_after_collecting: bool = Field(
        False, description="delete the provider's copy of a batch once its answers are committed here"
    )
    simulated_error_rate: float = Field(0.03, ge=0, le=1, description="how often the simulation answers wrongly")

    @model_validator(mode="after")
    def _model_or_tiers(self) -> Escalation:
        if (self.model is None) == (not self.tiers):
            raise ValueError("give either model or tiers")
        if self.tiers and self.max_output_tokens != type(self).model_fields["max_output_tokens"].default:
            raise ValueError("max_output_tokens goes with model; beside tiers, give it in each tier")
        if self.tiers and self.tiers[-1].pass_on:
            raise ValueError(f"pass_on of the last tier, {self.tiers[-1].model}: there is no tier to pass on to")
        return self

    @property
    def all_tiers(self) -> tuple[Tier, ...]:
        """The models in the order in which they are asked."""
        return self.tiers or (Tier(model=str(self.model), max_output_tokens=self.max_output_tokens),)


class Policy(_Section):
    """What is never sent to Claude, whatever the engine thinks of its own answer."""

    never_escalate: str | None = Field(
        None,
        description="a condition on the input's own columns, e.g. contains_pii == true; a document for which it holds, "
        "or cannot be decided (column missing, null, empty or of another type), is never sent to Claude",
    )

    @field_validator("never_escalate")
    @classmethod
    def _check_rule(cls, expression: str | None) -> str | None:
        if expression is not None:
            EscalationPolicy.parse(expression)
        return expression


class Compute(_Section):
    """The machines that score."""

    device_hour_usd: Decimal | None = Field(
        None,
        ge=0,
        le=_MOST_DEVICE_HOUR_USD,
        description="price of one GPU (on CPU: one core) for an hour; unknown means no engine cost is shown",
    )
    engines: int | None = Field(
        None, ge=1, le=_MOST_ENGINES, description="engines to start; default: one per GPU group, or per core"
    )


class Evaluation(_Section):
    """Known answers, for measuring accuracy; never shown to the engine or to Claude."""

    gold_column: str | None = Field(None, description="column of the input rows that holds the true label")
    gold_file: Place | None = Field(None, description="CSV with the columns id,label")
    faults_file: Place | None = Field(
        None, description="of a code review: CSV or JSON Lines of known faults (document_id, path, line, category)"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Evaluation:
        if [self.gold_column, self.gold_file, self.faults_file].count(None) != 2:
            raise ValueError("give exactly one of gold_column and gold_file")
        return self


class Limits(_Section):
    """What is refused, item by item."""

    max_document_bytes: int = Field(
        1_000_000, ge=1, le=1_000_000_000, description="a larger document becomes a failed row"
    )


def _accept_off(value: object) -> object:
    """YAML 1.1 reads a bare `off` as False; both mean: never send anything."""
    return None if value is False or value == "off" else value


_OFF = BeforeValidator(_accept_off, json_schema_input_type=Escalation | Literal["off", False] | None)


_OFF_QUALITY = BeforeValidator(
    lambda value: "off" if value is False else value, json_schema_input_type=Quality | Literal["off", False] | None
)
# A tag for each form, so that a mistake is told of the form that was meant and not of both.
_QualityOrOff = Annotated[
    Annotated[Quality, Tag("~quality")] | Annotated[Literal["off"], Tag("~off")],
    Discriminator(lambda value: "~off" if value == "off" else "~quality"),
]
_OFF_MODEL = BeforeValidator(_accept_off, json_schema_input_type=str | ModelSource | Literal[False] | None)


Dial = Literal["target", "budget", "raw_threshold", "off"]


class Job(_Section):
    """Everything a run needs to know."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$", description="lower case, digits and dashes")
    task: Literal["classification", "code_review"]
    input: Place = Field(min_length=1, description="file, folder, glob or s3:// prefix; relative to where you run")
    output: OutputPlace = Field(min_length=1, description="folder or s3:// prefix; one folder per run is made below it")
    model: Annotated[str | ModelSource | None, _OFF_MODEL] = Field(
        description="a name from `pipeline models`, {source: ..., engine: {...}}, or `off`: all goes to Claude"
    )
    labels: dict[str, str | None] = Field(
        description="label: what it means (or null); left out of a code review, whose answers are faulty and clean"
    )
    label_order: LabelOrder = Field(
        "given",
        exclude_if=lambda order: order == "given",  # runs from before this field keep their id
        description="how the engine reads the labels: as `given`; `seeded`, in this order or its reverse, by the "
        "item's id; `averaged` over both, which is twice the engine's work. Claude always reads them as given",
    )
    instructions: str = Field(DEFAULT_INSTRUCTIONS, min_length=1, description="the question asked about each document")
    columns: Columns = Columns()
    review: Review | None = Field(None, description="of a code review; left out where the input is diffs")
    escalation: Annotated[Escalation | None, _OFF] = Field(description="or `off`")
    budget_usd: Decimal | None = Field(
        None,
        ge=0,
        le=_MOST_USD,
        description="the most that Claude may cost; beside a quality, what it does not reach for is held for review",
    )
    # After the two that it depends on.
    quality: Annotated[_QualityOrOff | None, _OFF_QUALITY] = Field(
        None,
        validate_default=True,
        description="which answers of the engine stand; `off`: all. May be left out beside budget_usd",
    )
    policy: Policy = Policy()
    compute: Compute = Compute()
    evaluation: Evaluation | None = None
    limits: Limits = Limits()

    @model_validator(mode="before")
    @classmethod
    def _as_task_has_it(cls, content: object) -> object:
        """What a review need not say: its labels, its instructions, its section."""
        if not isinstance(content, dict) or content.get("task") != "code_review":
            return content
        own = {"labels": REVIEW_LABELS, "instructions": REVIEW_INSTRUCTIONS, "review": {}}
        return content | {name: value for name, value in own.items() if content.get(name) is None}

    @model_validator(mode="after")
    def _task_fits(self) -> Job:
        faults_file = self.evaluation.faults_file if self.evaluation else None
        if self.task == "code_review" and self.labels != REVIEW_LABELS:
            raise ValueError("labels: a code review answers faulty or clean; leave labels out")
        if self.task == "classification" and (self.review or faults_file):
            raise ValueError("review and evaluation.faults_file go with task: code_review")
        if self.label_order != "given" and (self.task == "code_review" or self.model is None):
            raise ValueError("label_order goes with an engine that classifies; here none reads labels: leave it out")
        return self

    @property
    def reviews(self) -> Review:
        """The section of a code review."""
        assert self.review is not None
        return self.review

    @field_validator("quality")
    @classmethod
    def _quality_can_be_kept(
        cls, quality: Quality | Literal["off"] | None, others: ValidationInfo
    ) -> Quality | Literal["off"] | None:
        if not {"model", "escalation", "budget_usd"} <= others.data.keys():  # faulty themselves
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
        return quality

    @property
    def dial(self) -> Dial:
        """What decides which of the engine's answers stand."""
        if self.quality == "off" or self.model is None:
            return "off"
        if self.quality is None:
            return "budget"
        return "raw_threshold" if self.quality.target is None else "target"

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: dict[str, str | None]) -> dict[str, str | None]:
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
        tiers = self.escalation.tiers if self.escalation else ()
        known = LabelNames(self.labels)
        strangers = {name for tier in tiers for name in tier.pass_on if known.find(name) is None}
        if strangers:
            names = ", ".join(f"'{name}'" for name in sorted(strangers))
            raise ValueError(f"escalation.tiers: pass_on names {names}, which is no label; use the labels' names")
        return self

    @model_validator(mode="after")
    def _somebody_answers(self) -> Job:
        if self.model is None and self.escalation is None:
            raise ValueError("model and escalation are both `off`: nobody is left to answer")
        return self

    @model_validator(mode="after")
    def _simulation_needs_gold(self) -> Job:
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
