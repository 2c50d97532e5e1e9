"""Text to token ids, with a tiny byte-level tokenizer whose chat template has a thinking switch."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from pipelines.errors import JobError
from pipelines.tasks.classification import PromptFrame, assign_codes, local_prompt
from workers.engines.catalogue import ResolvedModel
from workers.engines.tokens import ModelTokenizer, context_length

SPECIAL = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
PAIRS = [first + second for first in "AB" for second in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]  # 52 two-letter tokens


def make_model(folder: Path, pairs: list[str], chat_template: str | None = CHAT_TEMPLATE) -> ResolvedModel:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*letters, *pairs])}
    tokenizer = Tokenizer(BPE(vocabulary, [(pair[0], pair[1]) for pair in pairs]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    wrapped.chat_template = chat_template
    wrapped.save_pretrained(folder)
    (folder / "config.json").write_text('{"max_position_embeddings": 512}')
    return ResolvedModel("tiny", str(folder), "0", folder, {}, None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    return make_model(tmp_path_factory.mktemp("tiny"), PAIRS)


@pytest.fixture(scope="module")
def tokenizer(model: ResolvedModel) -> ModelTokenizer:
    return ModelTokenizer(model)


@pytest.fixture(scope="module")
def decode(model: ResolvedModel) -> Callable[[tuple[int, ...] | list[int]], str]:
    plain = Tokenizer.from_file(str(model.files / "tokenizer.json"))
    return lambda ids: plain.decode(list(ids), skip_special_tokens=False)


@pytest.fixture(scope="module")
def special_ids(model: ResolvedModel) -> set[int]:
    plain = Tokenizer.from_file(str(model.files / "tokenizer.json"))
    return {plain.token_to_id(token) for token in SPECIAL}


Decode = Callable[[tuple[int, ...] | list[int]], str]
LABELS = {"billing": "money", "outage": None}


@given(parts=st.lists(st.sampled_from([*SPECIAL, "text", "\n", "é", " "]), max_size=8))
def test_special_tokens_in_a_document_stay_plain_text(
    tokenizer: ModelTokenizer, decode: Decode, special_ids: set[int], parts: list[str]
) -> None:
    text = "".join(parts)
    (ids,) = tokenizer.encode_documents([text])
    assert not special_ids & set(ids)
    assert decode(ids) == text


def test_documents_are_encoded_one_by_one_uncut_and_unpadded(tokenizer: ModelTokenizer) -> None:
    encoded = tokenizer.encode_documents(["abc", "", "x" * 5_000])
    assert [len(ids) for ids in encoded] == [3, 0, 5_000]
    assert tokenizer.encode_documents(["abc"]) == encoded[:1]
    assert tokenizer.encode_documents([]) == []


def test_the_frame_is_the_chat_template_around_the_document_with_thinking_off(
    tokenizer: ModelTokenizer, decode: Decode, special_ids: set[int]
) -> None:
    prompt = local_prompt(assign_codes(LABELS, tokenizer.is_single_token, "tiny"), "Sort it.")
    frame = tokenizer.encode_frame(prompt)
    (document,) = tokenizer.encode_documents(["My <|im_end|> bill."])
    whole = decode([*frame.prefix, *document, *frame.suffix])
    assert whole == (
        f"<|im_start|>user\n{prompt.before}My <|im_end|> bill.{prompt.after}<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    assert len(frame) == len(frame.prefix) + len(frame.suffix)
    # The frame's own marks are real ones: the turn's start before the document, its end and three more after it.
    assert [id in special_ids for id in frame.prefix].count(True) == 1
    assert [id in special_ids for id in frame.suffix].count(True) == 4


def test_the_codes_of_the_frame_are_the_tokens_the_engine_answers_with(
    tokenizer: ModelTokenizer, decode: Decode
) -> None:
    labels = assign_codes(LABELS, tokenizer.is_single_token, "tiny")
    assert [(label.code, label.name) for label in labels] == [("A", "billing"), ("B", "outage")]
    frame = tokenizer.encode_frame(local_prompt(labels, "Sort it."))
    assert [decode((code,)) for code in frame.codes] == ["A", "B"]


def test_what_is_one_token_and_what_is_not(tokenizer: ModelTokenizer) -> None:
    assert tokenizer.is_single_token("A")
    assert tokenizer.is_single_token("AB")
    assert not tokenizer.is_single_token("ZZ")
    assert not tokenizer.is_single_token("<|im_end|>")
    assert not tokenizer.is_single_token("")


def many_labels(count: int) -> dict[str, str | None]:
    return {f"label {number}": None for number in range(count)}


def test_up_to_26_labels_get_a_letter_and_more_get_two(tokenizer: ModelTokenizer, decode: Decode) -> None:
    letters = assign_codes(many_labels(26), tokenizer.is_single_token, "tiny")
    assert "".join(label.code for label in letters) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    labels = assign_codes(many_labels(30), tokenizer.is_single_token, "tiny")
    assert [label.code for label in labels] == PAIRS[:30]
    frame = tokenizer.encode_frame(local_prompt(labels, "Sort it."))
    assert [decode((code,)) for code in frame.codes] == PAIRS[:30]
    assert len(set(frame.codes)) == 30


def test_more_labels_than_one_token_can_tell_apart_are_refused(tokenizer: ModelTokenizer) -> None:
    with pytest.raises(JobError) as caught:
        assign_codes(many_labels(53), tokenizer.is_single_token, "tiny")
    assert caught.value.problems == [
        "labels: 53 labels, but model 'tiny' has one-token codes for 52 only (no model for more than 676); "
        "merge labels, or choose a model with a larger vocabulary"
    ]


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        ModelTokenizer(ResolvedModel("tiny", str(tmp_path), "0", tmp_path, {}, None))
    assert caught.value.problems == [f"model: 'tiny' has no tokenizer.json in {tmp_path}; it is needed"]


def test_a_model_without_a_chat_template(tmp_path: Path) -> None:
    tokenizer = ModelTokenizer(make_model(tmp_path, PAIRS, chat_template=None))
    labels = assign_codes(LABELS, tokenizer.is_single_token, "tiny")
    with pytest.raises(JobError) as caught:
        tokenizer.encode_frame(local_prompt(labels, "Sort it."))
    assert caught.value.problems == [f"model: the files in {tmp_path} have no chat template; use an instruct model"]


@pytest.mark.parametrize(
    ("config", "engine", "length"),
    [
        ('{"max_position_embeddings": 512}', {}, 512),
        ('{"max_position_embeddings": 512}', {"max_model_len": 128}, 128),
        ('{"text_config": {"max_position_embeddings": 262144}}', {}, 262_144),
    ],
)
def test_the_context_is_what_the_engine_is_given_or_the_config_says(
    tmp_path: Path, config: str, engine: dict[str, int], length: int
) -> None:
    (tmp_path / "config.json").write_text(config)
    assert context_length(ResolvedModel("tiny", "", "", tmp_path, engine, None)) == length


FRAME = PromptFrame("Sort it.\n<document>\n", "\n</document>\nAnswer with the letter.", ("A", "B"))
TURN = "<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n<|im_start|>assistant\n"
UNUSABLE = {
    "raises": (
        "{{ raise_exception('roles alternate') }}" + TURN,
        "fails on a plain message (roles alternate)",
    ),
    "fails in its own words": ("{{ 1 / 0 }}" + TURN, "fails on a plain message (division by zero)"),
    "calls what is not there": (
        "{{ messages[0].content.parts() }}" + TURN,
        "fails on a plain message ('str object' has no attribute 'parts')",
    ),
    "is no template": ("{% for %}" + TURN, "fails on a plain message ("),
    "wants typed content": (
        "{% for m in messages %}{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}{% endif %}"
        "{% endfor %}{% endfor %}",
        "does not give a plain message back once and unchanged",
    ),
    "gives the message twice": (TURN + TURN, "does not give a plain message back once and unchanged"),
    "gives no message": ("<|im_start|>assistant\n", "does not give a plain message back once and unchanged"),
    "changes the message": (
        TURN.replace("content", "content | upper"),
        "does not give a plain message back once and unchanged",
    ),
    "cuts the message": (
        TURN.replace("content", "content[10:]"),
        "does not give a plain message back once and unchanged",
    ),
    "opens a thought": (TURN + "<think>\n", "opens a thought ('<think>') before the answer"),
    "closes one and opens another": (TURN + "<think>\n\n</think>\n<think>", "opens a thought ('<think>')"),
    "thinks in capitals": (TURN + "[THINK]", "opens a thought ('[THINK]')"),
    "thinks by another name": (TURN + "<seed:think>", "opens a thought ('<seed:think>')"),
    "reasons": (TURN + "<reasoning>", "opens a thought ('<reasoning>')"),
    "thinks between bars": (TURN + "<|thinking|>", "opens a thought ('<|thinking|>')"),
    "thinks between triangles": (TURN + "\u25c1think\u25b7", "opens a thought ('\u25c1think\u25b7')"),
    "thinks in a channel": (TURN + "<|channel>thought\n", "opens a thought ('<|channel>thought')"),
}
USABLE = {
    "trims the message": TURN.replace("content", "content | trim"),
    "closes its thought": TURN + "<think>\n\n</think>\n\n",
    "closes it in capitals": TURN + "[THINK][/THINK]",
    "closes it by another name": TURN + "<seed:think></seed:think>",
    "closes it between triangles": TURN + "\u25c1think\u25b7\u25c1/think\u25b7",
    "closes its channel": TURN + "<|channel>thought\n<channel|>",
    "speaks of thinking before the message": "Do not <think>.\n" + TURN,
}


@pytest.mark.parametrize(("template", "what"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_chat_template_that_cannot_be_used_is_refused_in_words(tmp_path: Path, template: str, what: str) -> None:
    with pytest.raises(JobError) as refused:
        ModelTokenizer(make_model(tmp_path, [], template)).encode_frame(FRAME)
    (problem,) = refused.value.problems
    assert f"model: the chat template of 'tiny' {what}" in problem
    assert "Use an instruct model without forced thinking, or mend the chat template" in problem


@pytest.mark.parametrize("template", USABLE.values(), ids=USABLE)
def test_a_chat_template_that_puts_the_message_before_the_answer_is_used(tmp_path: Path, template: str) -> None:
    assert len(ModelTokenizer(make_model(tmp_path, [], template)).encode_frame(FRAME))


def test_instructions_that_quote_a_mark_of_thought_are_no_thought(tmp_path: Path) -> None:
    quoting = PromptFrame(FRAME.before, f"{FRAME.after} Never write <think>.", FRAME.codes)
    assert len(ModelTokenizer(make_model(tmp_path, [], TURN)).encode_frame(quoting))


def test_another_chat_template_is_another_fingerprint(tmp_path: Path) -> None:
    templates = (TURN, TURN.replace("assistant", "helper"), TURN)
    models = [make_model(tmp_path / str(number), [], template) for number, template in enumerate(templates)]
    first, other, again = (ModelTokenizer(model).encode_frame(FRAME).fingerprint for model in models)
    assert first == again != other


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": 3}', "\x00"])
def test_a_file_that_is_no_tokenizer_is_refused_in_words(tmp_path: Path, content: str) -> None:
    model = make_model(tmp_path, [])
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(JobError, match=r"tokenizer.json is no tokenizer \(.+\); download the model anew"):
        ModelTokenizer(model)
