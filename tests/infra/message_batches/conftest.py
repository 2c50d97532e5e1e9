"""A local message batches service that knows the answers, one for each module; every test finds it empty."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.message_batches.label_requests import TEXTS
from tests.infra.message_batches_server import Server


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("answers") / "key.jsonl"
    entries = [
        {"text_sha256": hashlib.sha256(text.encode()).hexdigest(), "answer": {"label": "billing", "confidence": 0.5}}
        for text in TEXTS
    ]
    path.write_text("\n".join(json.dumps(entry) for entry in entries))
    return path


@pytest.fixture(scope="module")
def quick_server(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[Server]:
    options = ("--answer-key", str(key_file), "--error-rate", "0", "--max-body-bytes", "200000")
    with Server(tmp_path_factory.mktemp("quick"), *options) as server:
        yield server


@pytest.fixture
def server(quick_server: Server) -> Server:
    quick_server.control("reset", {})
    return quick_server
