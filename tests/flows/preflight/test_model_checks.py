"""`pipeline models` and `pipeline models check`, as a person and a program see them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from flows.preflight import model_checks
from pipelines.settings import settings
from tests.flows.command_case import Command, command
from workers.engines.catalogue import catalogue
from workers.engines.fitting.machines import GIB, Machine

__all__ = ["command"]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("RAY_ADDRESS", "SLUICE_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    machine = Machine("this machine", 16, 128 * GIB, (80 * GIB,))
    monkeypatch.setattr(model_checks, "this_machine", lambda: machine)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_the_list_names_every_model_claude_with_prices_and_what_is_no_model(command: Command) -> None:
    shown = command("models").out
    for name in (*catalogue().models, *catalogue().claude.models):
        assert any(line.startswith(f"{name} ") for line in shown.splitlines()), name
    assert "claude-haiku-5-5      0.05/0.25  1,000,000" in shown
    assert "100,000 requests or 256 MB at most" in shown
    assert "qwen3.5-plus is a service, not weights: the nearest weights are qwen3.5-397b-a17b-fp8" in shown


def test_the_list_for_programs_is_by_name_and_tells_the_kinds_apart(command: Command) -> None:
    listed = json.loads(command("models", "--json").out)
    assert listed["qwen3.5-9b"]["kind"] == "engine"
    assert listed["qwen3.5-9b"]["source"] == "Qwen/Qwen3.5-9B"
    assert listed["claude-haiku-5-5"]["batch"]["requests"] == 100_000
    assert listed["qwen3.5-flash"] == {"kind": "hosted", "nearest": "qwen3.5-35b-a3b"}


def test_the_check_tells_what_fits_first_and_of_the_rest_what_would(command: Command) -> None:
    shown = command("models", "check").out
    assert "machine   this machine: 16 cores, 128.0 GiB of memory, 1 GPU of 80 GiB" in shown
    lines = [line.split() for line in shown.splitlines() if line.startswith("qwen")]
    fits = [line[2] != "no;" for line in lines]
    assert fits == sorted(fits, reverse=True)
    assert "qwen3.5-35b-a3b                     42  1 engine of one GPU" in shown
    assert "no; two H200, or four cards of 80 GB would" in " ".join(shown.split())
    by_name = json.loads(command("models", "check", "--json").out)["models"]
    assert by_name["qwen3.5-9b"]["fits"] and not by_name["qwen3.5-122b-a10b-fp8"]["fits"]


def test_one_model_is_told_in_full_and_the_exit_code_says_whether_it_fits(command: Command) -> None:
    fitting = command("models", "check", "qwen3.5-9b")
    assert fitting.code == 0
    assert "block     528 tokens of a shared beginning are reused, or none" in fitting.out
    assert "fits      qwen3.5-9b: 1 engine of one GPU" in fitting.out
    too_large = command("models", "check", "qwen3.5-122b-a10b-fp8")
    assert too_large.code == 1
    assert "it needs about 147 GiB; the largest machine has 1 x 80 GiB; two H200" in too_large.out.replace("\n", " ")
    assert command("models", "check", "Qwen/Qwen3.5-9B").code == 0, "the same weights by their id"
    assert "the name of a hosted service" in command("models", "check", "qwen3.5-flash").err
