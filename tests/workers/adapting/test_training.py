"""Training on a network of a few thousand numbers: what is learnt, by which weights, and that a kill loses nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.adapting.examples import Batch, Example, OrderedFrame, batches
from workers.engines.tokens import TokenFrame

# torch, transformers and peft take seconds to import, and warn while they do.
pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore")]

CODES = (60, 61, 62)
SERVED = OrderedFrame(TokenFrame((1, 2, 3), (4,), CODES), (0, 1, 2))
TURNED = OrderedFrame(TokenFrame((3, 2, 1), (4,), CODES), (2, 1, 0))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Enough for so small a network; engines in the same process count on their own number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(seed: int = 0) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "initializer_range": 0.3}
    return Qwen3ForCausalLM(Qwen3Config(**sizes, **heads, max_position_embeddings=128))


def examples(count: int = 48) -> list[Example]:
    """The label is told by one token among others."""
    random = np.random.default_rng(0)
    labels = random.integers(3, size=count).tolist()
    return [
        Example(np.array([*random.integers(10, 50, 3 + number % 4), 50 + label], np.int32), label)
        for number, label in enumerate(labels)
    ]


def weights(trained: Any) -> dict[str, Any]:
    from peft import get_peft_model_state_dict

    return dict(get_peft_model_state_dict(trained))


@pytest.mark.prove
def test_the_label_is_learnt_by_the_attention_alone(tmp_path: Path) -> None:
    from workers.adapting.network import score
    from workers.adapting.training import TrainingPlan, train

    made, learnt = network(), examples()
    documents, labels = [each.tokens for each in learnt], [each.label for each in learnt]
    before = score(made, SERVED, documents)
    kept = {name: weight.clone() for name, weight in made.state_dict().items()}
    plan = TrainingPlan(epochs=12, learning_rate=2e-2, rank=4, alpha=8)
    trained = train(made, learnt, [SERVED], [], plan, tmp_path)
    after = score(trained, SERVED, documents)
    assert (after.argmax(axis=1) == labels).mean() > 0.9 > (before.argmax(axis=1) == labels).mean()
    assert {name.split(".")[-3] for name in weights(trained)} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    for name, weight in trained.unload().state_dict().items():
        assert weight.equal(kept[name]), name


def test_a_prompt_read_after_a_shared_beginning_gives_what_the_whole_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.adapting import network as network_module

    made, documents = network(), [each.tokens for each in examples(9)]
    shared = network_module.score(made, TURNED, documents)
    monkeypatch.setattr(network_module, "_shares_prefix", lambda network: False)
    np.testing.assert_allclose(network_module.score(made, TURNED, documents), shared, atol=0.05)


def test_rows_are_filled_up_by_little_and_to_few_lengths() -> None:
    from workers.adapting.network import filled

    lengths = range(1, 2_049)
    assert all(length <= filled(length) < length + 64 for length in lengths)
    assert max(filled(length) - length for length in lengths if length <= 128) < 16, "notes are as short as that"
    assert len({filled(length) for length in lengths}) < 50, "torch keeps something for each"


def test_columns_of_a_turned_frame_are_in_the_jobs_order() -> None:
    assert SERVED.codes == [60, 61, 62]
    assert TURNED.codes == [62, 61, 60]
    assert TURNED.code(0) == 62


def test_a_killed_training_goes_on_to_the_very_same_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.adapting import training
    from workers.adapting.training import TrainingPlan, train

    monkeypatch.setattr(training, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    plan, frames = TrainingPlan(epochs=2, batch=8, rank=4, alpha=8), ([SERVED], [TURNED])
    whole = train(network(), examples(), *frames, plan, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(done: int) -> None:
        if done == 7:
            raise Killed

    with pytest.raises(Killed):
        train(network(), examples(), *frames, plan, tmp_path / "killed", kill)
    told: list[int] = []
    resumed = train(network(), examples(), *frames, plan, tmp_path / "killed", told.append)
    assert told[0] == 7
    assert told[-1] == plan.steps(48) == 12
    for name, weight in weights(whole).items():
        np.testing.assert_array_equal(weights(resumed)[name].numpy(), weight.numpy())


def test_an_adapter_that_was_written_says_the_same_when_it_is_read_and_leaves_the_base_as_it_was(
    tmp_path: Path,
) -> None:
    from workers.adapting.network import score
    from workers.adapting.training import TrainingPlan, adapter_files, train, with_adapter

    documents = [each.tokens for each in examples(6)]
    trained = train(network(), examples(), [SERVED], [], TrainingPlan(epochs=2, rank=4, learning_rate=1e-2), tmp_path)
    adapter_files(trained, tmp_path / "adapter")
    base = network()
    plain, expected = score(base, SERVED, documents), score(trained, SERVED, documents)
    with with_adapter(base, tmp_path / "adapter") as served:
        np.testing.assert_allclose(score(served, SERVED, documents), expected, atol=0.02)
    np.testing.assert_array_equal(score(base, SERVED, documents), plain)
    assert np.abs(plain - expected).max() > 0.1


def test_a_checkpoint_of_another_plan_is_not_gone_on_from(tmp_path: Path) -> None:
    from workers.adapting.training import TrainingPlan, train

    train(network(), examples(8), [SERVED], [], TrainingPlan(epochs=1, rank=4), tmp_path)
    told: list[int] = []
    train(network(), examples(8), [SERVED], [], TrainingPlan(epochs=1, rank=4, seed=1), tmp_path, told.append)
    assert told[0] == 0


def test_an_epoch_has_every_example_once_and_half_of_it_in_other_orders() -> None:
    def epoch(seed: int) -> list[Batch]:
        return list(batches(examples(200), [SERVED], [TURNED], 8, seed))

    seen: Sequence[bytes] = sorted(each.tokens.tobytes() for batch in epoch(0) for each in batch.examples)
    assert seen == sorted(each.tokens.tobytes() for each in examples(200))
    assert 5 < sum(batch.frame is TURNED for batch in epoch(0)) < 20
    assert [len(batch.examples) for batch in epoch(1)] == [8] * 25


def test_a_network_without_attention_of_these_names_is_refused(tmp_path: Path) -> None:
    import torch

    from pipelines.errors import JobError
    from workers.adapting.training import TrainingPlan, train

    with pytest.raises(JobError, match="its layers have no q_proj, k_proj, v_proj, o_proj"):
        train(torch.nn.Linear(2, 2), examples(8), [SERVED], [], TrainingPlan(), tmp_path)
