"""The section `long_documents` of a job: what becomes of documents that the model cannot read at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipelines.job.sections import Section

# How the windows' answers become the document's; see `pipelines.tasks.window_answers`.
Merge = Literal["mean", "surest"]


class LongDocuments(Section):
    """What becomes of a document with more tokens than the model reads at once, which `max_model_len` says.

    Without this section the engine reads the beginning of it, and its row says how much. Shorter documents are read as
    ever.
    """

    how: Literal["windows", "head_tail", "refuse"] = Field(
        description="`windows`: all of it is read, part by part, and each costs what its tokens cost; `head_tail`: its "
        "first and its last tokens are read, with a mark between them; `refuse`: it becomes a failed row"
    )
    merge: Merge = Field(
        "mean",
        description="with windows: the document's answer is the `mean` of the windows' log-probabilities, weighted by "
        "their tokens, or that of the `surest` window, for labels that ask whether something occurs anywhere",
    )
    absent: str | None = Field(
        None,
        description="with merge: surest, the label that says that nothing occurs: what counts is then the window in "
        "which any other label is likeliest",
    )
    overlap_tokens: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="with windows: how many tokens a window shares with the one before it; default: an eighth of a "
        "window, at most half of one",
    )
    max_windows: int = Field(
        256, ge=2, le=10_000, description="with windows: a document that takes more becomes a failed row"
    )

    @model_validator(mode="after")
    def _each_with_its_own(self) -> LongDocuments:
        fields = type(self).model_fields
        given = [name for name in fields if name != "how" and getattr(self, name) != fields[name].default]
        if self.how != "windows" and given:
            raise ValueError(f"{' and '.join(given)}: of windows only, and how is `{self.how}`; leave it out")
        if self.absent is not None and self.merge != "surest":
            raise ValueError("absent goes with merge: surest; leave it out, or choose that")
        return self
