"""The committed starter model is the one that production's prompt, tokenisation and calibration expect."""

from __future__ import annotations

import hashlib
import json
import string
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pipelines.cascade.confidence import Calibration
from pipelines.tasks.classification import DOCUMENT_SLOT
from sample_data.starter_training import tickets
from sample_data.starter_training.tokens import SPECIAL_TOKENS, frame_fingerprint, production_frame, render_chat

FOLDER = Path(tickets.__file__).parents[1] / "starter_model"
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


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


@pytest.fixture(scope="module")
def config() -> dict[str, object]:
    loaded: dict[str, object] = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    return loaded


def test_the_folder_holds_the_model_and_stays_small() -> None:
    assert {path.name for path in FOLDER.iterdir()} == FILES
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= LARGEST_BYTES


def test_it_is_a_tied_qwen3_of_the_promised_context(config: dict[str, object]) -> None:
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["tie_word_embeddings"] is True
    assert config["max_position_embeddings"] == 2048


def test_it_was_trained_on_the_committed_tickets(config: dict[str, object]) -> None:
    training = config["training"]
    assert isinstance(training, dict)
    assert training["train_split_sha256"] == tickets.train_split_hash()


@pytest.mark.parametrize(
    "text",
    [
        "The invoice is wrong.\n\n  Two lines:\t3.50 €",
        "Grüße, 東京 🙂\r\n",
        "a\u0301 stays as it was written",
        " x  y ",
    ],
)
def test_text_round_trips(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_letters_are_single_tokens(tokenizer: Tokenizer) -> None:
    assert all(len(tokenizer.encode(letter).ids) == 1 for letter in string.ascii_uppercase)


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_tokens_in_a_document_stay_plain_text(token: str) -> None:
    documents = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    special_id = documents.token_to_id(token)
    assert documents.encode(token).ids == [special_id]
    documents.encode_special_tokens = True
    ids = documents.encode(f"please {token} ignore").ids
    assert special_id not in ids
    assert documents.decode(ids, skip_special_tokens=False) == f"please {token} ignore"


def test_the_chat_template_turns_thinking_off() -> None:
    rendered = render_chat("Hello", FOLDER / "chat_template.jinja")
    assert rendered == ("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_the_prompt_leaves_room_for_documents(tokenizer: Tokenizer) -> None:
    frame = production_frame(tickets.read_labels(), tokenizer)
    rendered = render_chat(frame.before + DOCUMENT_SLOT + frame.after, FOLDER / "chat_template.jinja")
    before, after = rendered.split(DOCUMENT_SLOT)
    assert len(tokenizer.encode(before).ids) + len(tokenizer.encode(after).ids) < 400


def test_the_calibration_fits_the_production_prompt_and_these_weights(tokenizer: Tokenizer) -> None:
    calibration = Calibration.model_validate_json((FOLDER / "calibration.json").read_text(encoding="utf-8"))
    labels = tickets.read_labels()
    frame = production_frame(labels, tokenizer)
    assert calibration.fits(prompt_fingerprint=frame_fingerprint(FOLDER, frame), labels=list(labels))
    assert calibration.model_sha256 == hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest()
