"""As vLLM's module of this name, as far as it is used."""

from dataclasses import dataclass
from enum import Enum
from typing import Any


class RequestOutputKind(Enum):
    """Every answer is finished in one step: the two come to the same."""

    DELTA = 1
    FINAL_ONLY = 2


@dataclass
class StructuredOutputsParams:
    """The schema that an answer obeys."""

    json: dict[str, Any]
