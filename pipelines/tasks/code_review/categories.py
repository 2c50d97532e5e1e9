"""The closed list of faults a review may report, with severities and CWE ids: categories.toml beside this file."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["critical", "high", "medium", "low"]

# Worst first.
SEVERITY_MEANINGS: MappingProxyType[Severity, str] = MappingProxyType(
    {
        "critical": "an outsider gains control, or data is lost",
        "high": "wrong results, a crash or exposed data in ordinary use",
        "medium": "wrong in some cases, or under load",
        "low": "nothing breaks yet: slow or misleading",
    }
)
SEVERITIES: tuple[Severity, ...] = tuple(SEVERITY_MEANINGS)


class Category(BaseModel):
    """One kind of fault that a review looks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z]+(-[a-z]+)*$")
    title: str
    description: str
    advice: str
    cwe: tuple[int, ...]
    severity: Severity
    security_severity: float | None = Field(None, gt=0, le=10, description="null: not a security fault")

    @property
    def cwe_ids(self) -> tuple[str, ...]:
        """As people write them: CWE-89."""
        return tuple(f"CWE-{number}" for number in self.cwe)


@lru_cache
def categories() -> MappingProxyType[str, Category]:
    """The table shipped with this version, in its order: by name."""
    text = resources.files("pipelines.tasks.code_review").joinpath("categories.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    return MappingProxyType({name: Category.model_validate({"name": name} | row) for name, row in rows.items()})
