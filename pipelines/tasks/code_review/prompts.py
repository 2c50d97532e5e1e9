"""The prompts of a code review: first pass and verification on the engine, escalation to Claude.

On the engine both passes begin with the same words up to the end of the code, so that the second finds the first one's
work in the prefix cache; what differs comes after. Tokenise the code as its own segment, and what `claim_block` gives
as the next: the tokens of the shared beginning are then the same whatever follows.

Code, and whatever a model said of it, is data: never part of a frame, its special tokens taken as plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib import resources

import jinja2

from pipelines.tasks.classification import Label, PromptFrame
from pipelines.tasks.code_review.categories import SEVERITY_MEANINGS, categories
from pipelines.tasks.code_review.findings import Finding
from pipelines.tasks.code_review.verification import as_json_line
from pipelines.tasks.marks import defused

DEFAULT_INSTRUCTIONS = "Review the code for faults. Report what is surely wrong, not matters of taste."

# What the templates call code, a claim about it, and what a first reading found.
CODE_MARK, _CLAIM_MARK, _CANDIDATES_MARK = "code", "claim", "candidates"


def review_prompt(instructions: str) -> PromptFrame:
    """The engine's user message around the code of one piece, asking for findings as JSON."""
    return PromptFrame(_before_code(instructions), _last_block("code_review_findings.jinja"), codes=())


def verification_prompt(instructions: str, labels: Sequence[Label]) -> PromptFrame:
    """The engine's user message around code and claim.

    Args:
        instructions: the same as in the review.
        labels: `CLAIM_LABELS` with their codes (`assign_codes`).
    """
    after = _last_block("code_review_verdict.jinja", labels=labels)
    return PromptFrame(_before_code(instructions), after, tuple(label.code for label in labels))


def claim_block(claim: str) -> str:
    """What stands between the code and the question: a claim from `verification`."""
    return _render("code_review_claim.jinja", claim=defused(claim, _CLAIM_MARK))


def claude_system_prompt(instructions: str) -> str:
    """System prompt of an escalated item; `claude_text` follows alone in the user message."""
    listed = {"categories": _listed(), "severities": SEVERITY_MEANINGS}
    return _last_block("code_review_claude.jinja", instructions=instructions, **listed)


def claude_text(code: str, candidates: Sequence[Finding]) -> str:
    """User message of an escalated item: the code, then what the engine found in it, one JSON object a line."""
    marks = (CODE_MARK, _CANDIDATES_MARK)
    lines = [defused(as_json_line(asdict(candidate)), *marks) for candidate in candidates]
    return _last_block("code_review_candidates.jinja", code=defused(code, *marks), candidates=lines)


def _before_code(instructions: str) -> str:
    return _render(
        "code_review_code.jinja", instructions=instructions, categories=_listed(), severities=SEVERITY_MEANINGS
    )


def _listed() -> list[dict[str, str]]:
    return [{"name": category.name, "description": category.description} for category in categories().values()]


def _last_block(name: str, **values: object) -> str:
    return _render(name, **values).rstrip("\n")


def _render(name: str, **values: object) -> str:
    return _template(name).render(**values)


@lru_cache
def _template(name: str) -> jinja2.Template:
    source = resources.files("pipelines.tasks.prompts").joinpath(name).read_text(encoding="utf-8")
    # Prompts are plain text for a model, never HTML. The last line end is kept: blocks follow one another.
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # noqa: S701  # as said
    return environment.from_string(source)
