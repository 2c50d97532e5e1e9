"""An open run goes on under the rule that it was begun under, or not at all."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.deciding.prior import commit_prior
from pipelines.errors import JobError
from pipelines.store import layout
from pipelines.store.objects import Store


def run_with(prior: bytes, folder: Path) -> Any:
    store = Store(str(folder))
    store.create(layout.PRIOR, prior)
    return SimpleNamespace(store=store, run_id="of-old")


def test_a_run_that_bought_labels_under_another_rule_is_refused_before_it_buys_more(tmp_path: Path) -> None:
    with pytest.raises(JobError) as raised:
        commit_prior(run_with(b'{"run_id": null, "reason": null, "places": []}', tmp_path))
    assert "run of-old has begun to buy labels under another version's rule" in str(raised.value)
    assert "Finish it by that version, or start anew with another --run-id" in str(raised.value)


def test_a_run_of_this_rule_goes_on(tmp_path: Path) -> None:
    commit_prior(run_with(b'{"rule": 4, "reason": null, "runs": []}', tmp_path))
