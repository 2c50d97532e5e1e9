"""The review model's tokenizer, and the product's two review prompts as token ids.

Each fixed block of the prompts is one token where it stands in a prompt, and plain text in code and claims: the model
is made for these prompts alone, and reading them costs it next to nothing. Most line numbers up to 999, category names,
the sentences it tells of a category and the fixed parts of the JSON are one token each too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from pipelines.tasks.classification import DOCUMENT_SLOT, PromptFrame, assign_codes
from pipelines.tasks.code_review.categories import SEVERITIES, categories
from pipelines.tasks.code_review.prompts import DEFAULT_INSTRUCTIONS, claim_block, review_prompt, verification_prompt
from pipelines.tasks.code_review.verification import CLAIM_LABELS, CLEAN_CLAIM
from sample_data.starter_training.tokens import SPECIAL_TOKENS, render_chat

MODEL_NAME = "review-starter"
VOCABULARY_SIZE = 4096
_NUMBERS = "".join(f"{number}\n" for number in range(1000))
_NUMBER_REPEATS, _PHRASE_REPEATS = 30, 300
LINE_KEY = '", "line": '
_FIXED_PARTS = (
    "user\n",
    "assistant\n",
    # Of answers: without spaces, as the engine's grammar wants them.
    '{"findings":[]}',
    '{"findings":[{"path":"',
    '","line":',
    ',"end_line":',
    ',"category":"',
    '","severity":"',
    '","message":"',
    '.","suggestion":"',
    '."}]}',
    '."},{"path":"',
    # Of claims.
    '", "path": "',
    LINE_KEY,
    ', "end_line": ',
    ', "message": "',
)
# Words by their capitals, with one sign before them; signs; numbers in threes; indentation; line ends apart.
_WORD_PATTERN = (
    r"(?<=\d)[ +]\||\p{N}{1,3}|[^\r\n\p{L}\p{N}]?(?:\p{Lu}?\p{Ll}+|\p{Lu}+|\p{L})"
    r"| ?[^\s\p{L}\p{N}]+|\r?\n|[^\S\r\n]+|\s"
)


@dataclass(frozen=True, slots=True)
class PromptIds:
    """Ids before the code, and after the code (review) or the claim (verification); ``codes`` answer a claim."""

    before: tuple[int, ...]
    review: tuple[int, ...]
    verdict: tuple[int, ...]
    codes: tuple[int, ...]


def product_prompts() -> tuple[PromptFrame, PromptFrame]:
    """Review and verification as a run with the default instructions asks for them."""
    labels = assign_codes(CLAIM_LABELS, lambda code: True, MODEL_NAME)
    return review_prompt(DEFAULT_INSTRUCTIONS), verification_prompt(DEFAULT_INSTRUCTIONS, labels)


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Fit a byte-level BPE on code, answers and claims: any text round-trips."""
    phrases = _phrases()
    pattern = "|".join([*(re.escape(phrase) for phrase in phrases), _WORD_PATTERN])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    blocks = _prompt_blocks()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(blocks),
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *[_NUMBERS] * _NUMBER_REPEATS, *phrases * _PHRASE_REPEATS], trainer)
    tokenizer.add_tokens([AddedToken(block, normalized=False, special=False) for block in blocks])
    return tokenizer


def _phrases() -> list[str]:
    """Texts that are always cut out as one, longest first."""
    claim_start, claim_end = claim_block(DOCUMENT_SLOT).split(DOCUMENT_SLOT)
    fault_start = '{"claim": "this code has this fault", "category": "'
    opened = [claim_start + fault_start, claim_start + CLEAN_CLAIM + claim_end]
    sentences = [text.removesuffix(".") for one in categories().values() for text in (one.description, one.advice)]
    phrases = {*opened, '."}' + claim_end, *_FIXED_PARTS, *sentences, *categories(), *SEVERITIES}
    return sorted(phrases, key=lambda phrase: (-len(phrase), phrase))


def _prompt_blocks() -> list[str]:
    """What stands in every prompt, but for the instructions: those a job may replace."""
    review, verdict = product_prompts()
    return [DEFAULT_INSTRUCTIONS, review.before.removeprefix(DEFAULT_INSTRUCTIONS), review.after, verdict.after]


def prompt_ids(tokenizer: Tokenizer) -> PromptIds:
    """Tokenise both rendered prompts on either side of the code."""
    review, verdict = product_prompts()
    before, after_review = _rendered(tokenizer, review)
    same_before, after_verdict = _rendered(tokenizer, verdict)
    assert before == same_before, "the passes must share their beginning, or nothing is found in the prefix cache"
    codes = tuple(text_ids(tokenizer, [code])[0][0] for code in verdict.codes)
    return PromptIds(before, after_review, after_verdict, codes)


def _rendered(tokenizer: Tokenizer, frame: PromptFrame) -> tuple[tuple[int, ...], tuple[int, ...]]:
    before, after = render_chat(frame.before + DOCUMENT_SLOT + frame.after).split(DOCUMENT_SLOT)
    tokenizer.encode_special_tokens = False
    return tuple(tokenizer.encode(before).ids), tuple(tokenizer.encode(after).ids)


def text_ids(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """Tokenise code, claims and answers: marks of the chat in them are plain text."""
    tokenizer.encode_special_tokens = True
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
