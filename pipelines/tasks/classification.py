"""Classification: labels, their one-token codes, and the two prompts (own engine, Claude).

The engine is asked for one token: a letter per label. Letters keep labels apart that share a first token
("invoice", "invoice_copy") and give a log-probability for every label at the price of one token.
Knows nothing of engines or clients: a tokenizer comes in as a predicate, requests go out as plain values.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import jinja2

from pipelines.errors import JobError
from pipelines.tasks.label_names import label_names

# In which order the engine reads the labels; see `pipelines.tasks.label_order`.
LabelOrder = Literal["given", "seeded", "averaged"]

DEFAULT_INSTRUCTIONS = "Sort the document: which one of these labels fits it best?"

# Of two letters; a tokenizer holds some of them as one token, a large one nearly all.
MOST_CODES = len(string.ascii_uppercase) ** 2
# Stands in the rendered template where the document's own tokens go. A private-use code point: no template
# or label holds it (Job refuses control and private-use characters in labels and instructions).
DOCUMENT_SLOT = "\ue000"
# What the engine's template calls the document; Claude's message holds the document alone, without a mark.
DOCUMENT_MARK = "document"


@dataclass(frozen=True, slots=True)
class Label:
    """One label: the ``code`` the engine answers with, the ``name`` users see, an optional description."""

    code: str
    name: str
    description: str | None


@dataclass(frozen=True)
class PromptFrame:
    """The user message around a document: ``before`` + document + ``after``."""

    before: str
    after: str
    codes: tuple[str, ...]


def assign_codes(
    labels: Mapping[str, str | None], is_single_token: Callable[[str], bool], model_name: str
) -> tuple[Label, ...]:
    """Give each label a code that the model's tokenizer holds as one token.

    Up to 26 labels get a letter each; beyond that, two-letter codes: as many as the tokenizer has, 676 at the most.

    Raises:
        JobError: the tokenizer does not have enough such codes.
    """
    usable = (code for code in _candidate_codes(len(labels)) if is_single_token(code))
    codes = list(itertools.islice(usable, len(labels)))
    if len(codes) < len(labels):
        raise JobError(
            [
                f"labels: {len(labels)} labels, but model '{model_name}' has one-token codes for {len(codes)} only "
                f"(no model for more than {MOST_CODES}); merge labels, or choose a model with a larger vocabulary"
            ]
        )
    return tuple(Label(code, *pair) for code, pair in zip(codes, labels.items(), strict=True))


def _candidate_codes(count: int) -> Iterator[str]:
    letters = string.ascii_uppercase
    if count <= len(letters):
        return iter(letters)
    return ("".join(pair) for pair in itertools.product(letters, repeat=2))


def local_prompt(labels: Sequence[Label], instructions: str) -> PromptFrame:
    """Render the engine's user message, split where the document goes."""
    rendered = _template("classification_local.jinja").render(
        labels=labels, instructions=instructions, document=DOCUMENT_SLOT
    )
    before, after = rendered.split(DOCUMENT_SLOT)
    return PromptFrame(before, after, tuple(label.code for label in labels))


def question_prompt(labels: Sequence[Label], instructions: str) -> PromptFrame:
    """The same for one of several questions about a document, which stands first: all their prompts begin alike."""
    rendered = _template("classification_question.jinja").render(
        labels=labels, instructions=instructions, document=DOCUMENT_SLOT
    )
    before, after = rendered.split(DOCUMENT_SLOT)
    return PromptFrame(before, after, tuple(label.code for label in labels))


def claude_system_prompt(labels: Sequence[Label], instructions: str) -> str:
    """Render the system prompt of an escalated item; the document follows alone in the user message."""
    return _template("classification_claude.jinja").render(labels=labels, instructions=instructions)


def answer_schema(labels: Sequence[Label]) -> dict[str, Any]:
    """JSON Schema of Claude's answer: one label by its name."""
    return {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": [label.name for label in labels]}},
        "required": ["label"],
        "additionalProperties": False,
    }


def parse_label(answer: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Map an answer to the canonical label, or None.

    Structured output does not promise the spelling of enum values: see `label_names` for what counts as the same.
    """
    given = answer.get("label")
    return label_names(tuple(names)).find(given) if isinstance(given, str) else None


def _template(name: str) -> jinja2.Template:
    source = resources.files("pipelines.tasks.prompts").joinpath(name).read_text(encoding="utf-8")
    # Prompts are plain text for a model, never HTML: escaping would change the labels the model reads.
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined, keep_trailing_newline=False)  # noqa: S701  # as said
    return environment.from_string(source)
