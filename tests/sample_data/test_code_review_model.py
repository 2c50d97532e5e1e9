"""The committed review model is the one that the product's prompts, tokenisation and calibration expect."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pipelines.cascade.confidence import Calibration
from pipelines.job.sections import ModelSource
from pipelines.tasks.code_review.categories import SEVERITIES, categories
from pipelines.tasks.code_review.prompts import claim_block
from pipelines.tasks.code_review.verification import CLAIM_LABELS, CLEAN_CLAIM
from sample_data.code_training.tokens import product_prompts, prompt_ids, text_ids
from sample_data.starter_training.tokens import SPECIAL_TOKENS, frame_fingerprint
from workers.engines.catalogue import resolve_model
from workers.engines.tokens import ModelTokenizer

FOLDER = Path(__file__).parents[2] / "sample_data" / "review_model"
FILES = {
    "MODEL_CARD.md",
    "calibration.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
LARGEST_BYTES = 12_000_000


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def test_the_folder_holds_the_model_and_stays_small() -> None:
    assert {path.name for path in FOLDER.iterdir()} == FILES
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= LARGEST_BYTES


def test_it_is_a_tied_qwen3_of_the_promised_context() -> None:
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["tie_word_embeddings"] is True
    assert config["max_position_embeddings"] == 2048


@pytest.mark.parametrize(
    "text",
    [
        '@file "a.py" added\n@@\n1+|\tif x:  # ü\n-|    pass\n',
        "Grüße, 東京 🙂\r\n",
        "a\u0301 stays as it was written",
        " x  y ",
        '{"findings": [{"path": "a", "line": 1234',
    ],
)
def test_text_round_trips(tokenizer: Tokenizer, text: str) -> None:
    (ids,) = text_ids(tokenizer, [text])
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_numbers_categories_and_severities_are_single_tokens(tokenizer: Tokenizer) -> None:
    """Numbers as far as training shifts a diff down its file, and a little more."""
    words = [*map(str, range(1, 500)), *categories(), *SEVERITIES]
    assert [word for word, ids in zip(words, text_ids(tokenizer, words), strict=True) if len(ids) != 1] == []


def test_the_prompts_are_a_few_tokens_each(tokenizer: Tokenizer) -> None:
    prompts = prompt_ids(tokenizer)
    assert max(len(prompts.before), len(prompts.review), len(prompts.verdict)) <= 12
    assert len(set(prompts.codes)) == len(CLAIM_LABELS)


def test_the_prompt_quoted_in_code_is_plain_text(tokenizer: Tokenizer) -> None:
    prompts = prompt_ids(tokenizer)
    quoted = [frame.before + frame.after for frame in product_prompts()]
    blocks = {*prompts.before, *prompts.review, *prompts.verdict} & set(range(tokenizer.get_vocab_size() - 4, 4096))
    product = ModelTokenizer(resolve_model(ModelSource(source=str(FOLDER))))
    assert len(blocks) == 4
    for ids in product.encode_documents([*quoted, *SPECIAL_TOKENS]):
        assert not blocks & set(ids)
        assert not {tokenizer.token_to_id(token) for token in SPECIAL_TOKENS} & set(ids)


def test_the_product_reads_prompts_and_claims_as_training_did(tokenizer: Tokenizer) -> None:
    prompts = prompt_ids(tokenizer)
    product = ModelTokenizer(resolve_model(ModelSource(source=str(FOLDER))))
    review, verdict = map(product.encode_frame, product_prompts())
    assert (review.prefix, review.suffix) == (prompts.before, prompts.review)
    assert (verdict.prefix, verdict.suffix, verdict.codes) == (prompts.before, prompts.verdict, prompts.codes)
    claim = claim_block(CLEAN_CLAIM)
    assert product.encode_documents([claim]) == text_ids(tokenizer, [claim])


def test_the_calibration_fits_the_verification_and_these_weights() -> None:
    calibration = Calibration.model_validate_json((FOLDER / "calibration.json").read_text(encoding="utf-8"))
    fingerprint = frame_fingerprint(FOLDER, product_prompts()[1])
    assert calibration.fits(prompt_fingerprint=fingerprint, labels=list(CLAIM_LABELS))
    assert calibration.model_sha256 == hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest()
