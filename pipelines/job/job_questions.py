"""The section `questions` of a job file: what is asked about each document beside, or instead of, one set of labels.

What a question leaves out comes from the job. How a question becomes a job of its own is told in
`pipelines.job.question_jobs`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator

from pipelines.job.job_places import refuse_unprintable
from pipelines.job.sections import MOST_USD, Escalation, Evaluation, Quality, QualityOrOff, Section
from pipelines.tasks.label_names import problem_with_names

Choose = Literal["one", "any"]

# YAML 1.1 reads a bare `off` as False. Unlike in the job, `null` is not the same: it is what the job says.
_OFF = BeforeValidator(
    lambda value: "off" if value is False else value, json_schema_input_type=Quality | Literal["off", False] | None
)
_OFF_ESCALATION = BeforeValidator(
    lambda value: "off" if value is False else value, json_schema_input_type=Escalation | Literal["off", False] | None
)
_EscalationOrOff = Annotated[
    Annotated[Escalation, Tag("~escalation")] | Annotated[Literal["off"], Tag("~off")],
    Discriminator(lambda value: "~off" if value == "off" else "~escalation"),
]


class JobQuestion(Section):
    """One of several questions about each document, with a rule, a promise and rows of its own.

    What is left out here is as the job has it.
    """

    labels: dict[str, str | None] = Field(description="label: what it means (or null)")
    choose: Choose = Field(
        "one", description="`one` label fits best; or `any` of them may: each is asked about by itself, yes or no"
    )
    instructions: str | None = Field(
        None, min_length=1, description="the question asked about each document; with `choose: any`, about each label"
    )
    quality: Annotated[QualityOrOff | None, _OFF] = Field(
        None, description="which answers of the engine stand; `off`: all"
    )
    escalation: Annotated[_EscalationOrOff | None, _OFF_ESCALATION] = Field(
        None, description="whom this question asks; `off`: nobody"
    )
    budget_usd: Decimal | None = Field(
        None,
        ge=0,
        le=MOST_USD,
        description="its part of the job's budget_usd; questions without one share the rest evenly",
    )
    evaluation: Evaluation | None = None

    @field_validator("labels")
    @classmethod
    def _can_be_told_apart(cls, labels: dict[str, str | None]) -> dict[str, str | None]:
        if problem := problem_with_names(labels):
            raise ValueError(problem)
        for text in [*labels, *filter(None, labels.values())]:
            refuse_unprintable(text)
        return labels

    @field_validator("instructions")
    @classmethod
    def _is_printable(cls, instructions: str | None) -> str | None:
        if instructions is not None:
            refuse_unprintable(instructions)
        return instructions
