"""The section `adapt` of a job file: how often a series trains an adapter, and whose labels teach it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import ConfigDict, Field, field_validator

from pipelines.job.sections import Section

_EVERY = r"^[1-9][0-9]{0,3}d$"


class Adapt(Section):
    """Of a series (`--since-last`, schedules): its runs train adapters, and later runs use what passes the gate."""

    # `from` is a word of Python's; a job is written down as it is read.
    model_config = ConfigDict(serialize_by_alias=True)

    every: str = Field(pattern=_EVERY, description="days between two trainings, such as `30d`")
    sources: tuple[Literal["gold", "people", "claude"], ...] = Field(
        ("gold", "people"),
        alias="from",
        description="whose labels teach: `gold`, `people`, and Claude's own answers only where `claude` is named; "
        "whether they may is for Anthropic's terms to say, see docs/adapters.md",
    )

    @field_validator("every", mode="before")
    @classmethod
    def _is_in_days(cls, every: object) -> object:
        if not isinstance(every, str) or not re.fullmatch(_EVERY, every):
            raise ValueError(f"{str(every)[:20]!r} is no number of days from 1d to 9999d; give one such as 30d")
        return every

    @field_validator("sources")
    @classmethod
    def _somebody_teaches(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if not sources:
            raise ValueError("nobody is named; name some of gold, people and claude, or leave it out for the first two")
        return sources

    @property
    def period(self) -> timedelta:
        """From the beginning of one training to that of the next."""
        return timedelta(days=int(self.every.removesuffix("d")))
