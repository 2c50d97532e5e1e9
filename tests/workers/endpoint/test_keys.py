"""A first tier's key: read by its name, kept from child processes, and handed to those that do this one's work."""

from __future__ import annotations

import os

import pytest

from pipelines.settings import environment_with_claude_key, environment_without_keys, secret_named, withhold_named


def test_a_withheld_key_is_still_this_processs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TIER_KEY", "sk-secret")
    withhold_named("SOME_TIER_KEY")
    withhold_named("SOME_TIER_KEY")
    assert "SOME_TIER_KEY" not in os.environ and "SOME_TIER_KEY" not in environment_without_keys()
    secret = secret_named("SOME_TIER_KEY")
    assert secret and secret.get_secret_value() == "sk-secret" and "sk-secret" not in repr(secret)
    assert environment_with_claude_key()["SOME_TIER_KEY"] == "sk-secret"


def test_a_key_that_is_set_anew_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TIER_KEY", "old")
    withhold_named("SOME_TIER_KEY")
    monkeypatch.setenv("SOME_TIER_KEY", "new")
    secret = secret_named("SOME_TIER_KEY")
    assert secret and secret.get_secret_value() == "new"
