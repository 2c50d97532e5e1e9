"""The sections of a job file, each with what it may hold; `pipelines.job.job` puts them together."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from pipelines.cascade.policy import EscalationPolicy
from pipelines.job.engine_arguments import EngineArguments
from pipelines.job.job_places import Place


class Section(BaseModel):
    """What all have in common: no field that is not known, nothing changed later, no number that is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# What the money columns, decimal128(20, 12), hold of one row; a device's price is bounded so that hours of it fit.
MOST_USD = 99_999_999
_MOST_DEVICE_HOUR_USD = 10_000
_MOST_ENGINES = 10_000


class ModelSource(Section):
    """A model that is not in the catalogue."""

    source: Place = Field(min_length=1, description="Hugging Face id or local folder")
    revision: str | None = Field(None, description="commit of the Hugging Face repository; pin it")
    engine: EngineArguments = Field(
        default_factory=dict, description="vLLM engine arguments, over the device's defaults"
    )


class Review(Section):
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


class Columns(Section):
    """Which columns of JSONL, CSV and Parquet inputs hold what."""

    text: str = Field("text", min_length=1)
    id: str = Field("id", min_length=1, description="absent ids become path:line")


class Quality(Section):
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


class Tier(Section):
    """One Claude model that may be asked."""

    model: str = Field(min_length=1, description="a Claude model id, e.g. claude-haiku-5-5")
    max_output_tokens: int = Field(1024, ge=16, le=64_000, description="thinking included")
    pass_on: tuple[str, ...] = Field(
        (), description="labels that, when this tier gives them, send the item on to the next tier all the same"
    )


class Escalation(Section):
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


class Policy(Section):
    """What is never sent to Claude, nor to a hosted first tier, whatever the engine thinks of its own answer."""

    never_escalate: str | None = Field(
        None,
        description="a condition on the input's own columns, e.g. contains_pii == true; a document for which it holds, "
        "or cannot be decided (column missing, null, empty or of another type), is never sent to Claude, nor to a "
        "model.endpoint that is `hosted`",
    )

    @field_validator("never_escalate")
    @classmethod
    def _check_rule(cls, expression: str | None) -> str | None:
        if expression is not None:
            EscalationPolicy.parse(expression)
        return expression


class Compute(Section):
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


class Evaluation(Section):
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


class Limits(Section):
    """What is refused, item by item, and where reading ends."""

    max_document_bytes: int = Field(
        1_000_000, ge=1, le=1_000_000_000, description="a larger document becomes a failed row"
    )
    documents: int | None = Field(
        None,
        ge=1,
        le=10**12,
        exclude_if=lambda documents: documents is None,  # runs from before this field keep their id
        description="read only the first so many documents, to try a job; such a run is another than the whole one",
    )
