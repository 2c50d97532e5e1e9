"""The sections of a job file, each with what it may hold; `pipelines.job.job` puts them together."""

from __future__ import annotations

import math
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
from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.documents.text_columns import text_columns
from pipelines.job.engine_arguments import EngineArguments
from pipelines.job.job_places import Place
from pipelines.store.layout import ResultFormat


class Section(BaseModel):
    """What all have in common: no field that is not known, nothing changed later, no number that is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# What the money columns, decimal128(20, 12), hold of one row; a device's price is bounded so that hours of it fit.
MOST_USD = 99_999_999
_MOST_DEVICE_HOUR_USD = 10_000
_MOST_ENGINES = 10_000
_LEAST_WRONG_OF_TERM = 20  # with fewer, not even half of all without one that is wrong shows enough

_Name = Annotated[str, Field(min_length=1)]
# Tags, so that a mistake is told of the form that was meant and not of both.
_OneOrSeveral = Annotated[
    Annotated[_Name, Tag("~one")] | Annotated[tuple[_Name, ...], Field(min_length=1), Tag("~several")],
    Discriminator(lambda value: "~several" if isinstance(value, list | tuple) else "~one"),
]


class ModelSource(Section):
    """A model that is not in the catalogue."""

    source: Place = Field(min_length=1, description="Hugging Face id, local folder, or a name from `pipeline models`")
    revision: str | None = Field(None, description="commit of the Hugging Face repository; pin it")
    engine: EngineArguments = Field(
        default_factory=dict, description="vLLM engine arguments, over the device's defaults"
    )
    adapter: Place | None = Field(
        None,
        min_length=1,
        exclude_if=lambda adapter: adapter is None,  # runs from before this field keep their id
        description="a LoRA adapter over these weights: folder, s3:// place or Hugging Face id; `pipeline adapt` "
        "trains one",
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

    text: _OneOrSeveral = Field(
        "text",
        description="the column; or several, `[subject, body]`, one below the other; or a template, "
        '`"{subject}: {body}"`, in which an absent value is empty',
    )
    id: _OneOrSeveral = Field(
        "id", description="the column, or several, which are joined with colons; absent ids become path:line"
    )
    carry: tuple[_Name, ...] = Field(
        (),
        exclude_if=lambda names: not names,  # runs from before this field keep their id
        description="columns that go to the results as they are, with their types",
    )

    @field_validator("text")
    @classmethod
    def _is_template(cls, text: str | tuple[str, ...]) -> str | tuple[str, ...]:
        text_columns(text)
        return text

    @field_validator("carry")
    @classmethod
    def _can_be_carried(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from pipelines.store.schemas import RESULTS  # imported late: Arrow, for the few jobs that carry columns

        own = {name.casefold(): name for name in RESULTS.names} if names else {}
        seen = set[str]()
        for name in names:
            if taken := own.get(name.casefold()):
                raise ValueError(f"{name!r}: the results have a column {taken!r} of their own; rename the input's")
            if name.casefold() in seen:
                raise ValueError(f"{name!r} is there twice; remove one (columns that differ in case only clash, too)")
            seen.add(name.casefold())
        return names


class Csv(Section):
    """How CSV and TSV files are written. What is left out is told from the first rows of each file."""

    delimiter: str | None = Field(None, description="one character between the fields, such as `;`")
    quote: Annotated[str | None, BeforeValidator(lambda value: "" if value in (False, "off") else value)] = Field(
        None, description="one character around fields, or `off`: nothing is quoted"
    )
    escape: str | None = Field(
        None, description="one character that makes a quote part of a field, such as a backslash; beside doubling it"
    )
    encoding: str | None = Field(None, description="such as `windows-1252`; a byte order mark goes before it")

    @field_validator("delimiter", "quote", "escape")
    @classmethod
    def _one_character(cls, mark: str | None, field: ValidationInfo) -> str | None:
        if mark == "\\t":
            return "\t"  # in single quotes YAML leaves the two characters as they are
        is_off = mark == "" and field.field_name == "quote"
        if mark is None or is_off:
            return mark
        if len(mark) != 1 or not mark.isascii() or mark.isalnum() or mark in "\r\n\0 ":
            raise ValueError(f"{mark[:20]!r} is not one character; give one sign, such as ';' or \"\\t\"")
        return mark

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        from pipelines.documents.readers.charsets import codec_of  # imported late: for the few jobs that need it

        if name is not None and codec_of(name) is None:
            raise ValueError(f"no charset is called {name[:40]!r}; name one such as windows-1252, latin-1 or utf-16")
        return name

    @model_validator(mode="after")
    def _all_differ(self) -> Csv:
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark]
        if len(set(marks)) < len(marks):
            raise ValueError(
                "delimiter, quote and escape are different characters (quotes that are doubled need no escape)"
            )
        return self


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

    term_items: int | None = Field(
        None,
        ge=100,
        le=100_000,
        exclude_if=lambda items: items is None,  # so that jobs without it are what they were, and their runs too
        description="with a target: the promise is kept over the job's runs together, one after another, until they "
        "have this many documents, and holds after each of them; for files too small to certify one by one",
    )

    @model_validator(mode="after")
    def _one_dial(self) -> Quality:
        if (self.target is None) == (self.raw_threshold is None):
            raise ValueError("give either target or raw_threshold")
        return self

    @model_validator(mode="after")
    def _term_can_show_it(self) -> Quality:
        if self.term_items is None:
            return self
        if self.target is None:
            raise ValueError("term_items goes with a target; leave it out")
        if self.audit_items not in (0, type(self).model_fields["audit_items"].default):
            raise ValueError(
                "term_items: every run of a term is sampled, so none has an audit beside it; leave audit_items out"
            )
        may_be_wrong = allowed_wrong(self.term_items, self.target)
        if may_be_wrong < _LEAST_WRONG_OF_TERM:
            least = "" if self.target == 1 else f"; {math.ceil(_LEAST_WRONG_OF_TERM / (1 - self.target)):,} are enough"
            raise ValueError(
                f"term_items: of {self.term_items:,} documents {may_be_wrong:,} may be wrong at a target of "
                f"{self.target:.10g}, which samples of small files cannot show{least}"
            )
        return self


# A tag for each form, so that a mistake is told of the form that was meant and not of both.
QualityOrOff = Annotated[
    Annotated[Quality, Tag("~quality")] | Annotated[Literal["off"], Tag("~off")],
    Discriminator(lambda value: "~off" if value == "off" else "~quality"),
]


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
    """Which machines score, how many engines they hold, and what an hour of them costs."""

    device_hour_usd: Decimal | None = Field(
        None,
        ge=0,
        le=_MOST_DEVICE_HOUR_USD,
        description="price of one GPU (on CPU: one core) for an hour; unknown means no engine cost is shown",
    )
    engines: int | None = Field(
        None,
        ge=1,
        le=_MOST_ENGINES,
        description="engines to start; default: one per GPU group, or per core that has memory for it",
    )
    max_engines: int | None = Field(
        None,
        ge=1,
        le=_MOST_ENGINES,
        exclude_if=lambda most: most is None,  # runs from before this field keep their id, here and below
        description="how many there may be while work waits: as machines join, or an autoscaler brings them; default: "
        "`engines`, or as many as find room",
    )
    gpu_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        exclude_if=lambda share: share is None,
        description="part of one GPU that an engine takes, so that several of a small model share it, e.g. 0.25",
    )

    @model_validator(mode="after")
    def _least_and_most(self) -> Compute:
        if self.engines and self.max_engines and self.max_engines < self.engines:
            raise ValueError("max_engines is less than engines, which are started in any case")
        return self


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


class Results(Section):
    """How the rows are written."""

    format: ResultFormat = Field(
        "parquet", description="of the parts below results/: `parquet`, or `arrow`: IPC files, lz4 within"
    )


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
