"""The life of a message batch in the local service, seen through the real SDK."""

from collections.abc import Iterator
from pathlib import Path

import anthropic
import pytest

from tests.infra.message_batches.label_requests import HEADERS, create, rows
from tests.infra.message_batches_server import Server

pytestmark = [pytest.mark.processes, pytest.mark.timeout(60)]

DAY = 86_400


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[Server]:
    """Needs two days for a batch, so that cancelling and expiring come in the middle."""
    options = ("--answer-key", str(key_file), "--error-rate", "0", "--processing-seconds", str(2 * DAY))
    with Server(tmp_path_factory.mktemp("slow"), *options) as server:
        yield server


@pytest.fixture
def slow(slow_server: Server) -> Server:
    slow_server.control("reset", {})
    return slow_server


def test_batch_goes_from_in_progress_to_ended_with_one_row_each(server: Server) -> None:
    batch = create(server, 40)
    assert (batch.processing_status, batch.request_counts.processing, batch.results_url) == ("in_progress", 40, None)
    assert batch.expires_at.timestamp() - batch.created_at.timestamp() == DAY
    ended = server.ended(batch.id)
    assert (ended.request_counts.succeeded, ended.request_counts.processing) == (40, 0)
    assert ended.ended_at is not None
    assert ended.results_url == f"{server.url}/v1/messages/batches/{batch.id}/results"
    order = [row.custom_id for row in server.client.messages.batches.results(batch.id)]
    assert sorted(order) == sorted(f"item-{i}" for i in range(40))
    assert order != [f"item-{i}" for i in range(40)]


def test_results_are_chunked_jsonl_without_a_last_newline(server: Server) -> None:
    url = server.ended(create(server).id).results_url
    assert url is not None
    response = server.http.get(url, headers=HEADERS)
    assert response.headers["content-type"] == "application/x-jsonl"
    assert response.headers["transfer-encoding"] == "chunked"
    assert not response.text.endswith("\n")
    assert len(response.text.split("\n")) == 4


def test_unfinished_batch_has_no_results_and_cannot_be_deleted(slow: Server) -> None:
    batches = slow.client.messages.batches
    batch = create(slow)
    response = slow.http.get(f"/v1/messages/batches/{batch.id}", headers=HEADERS)
    assert response.headers["retry-after"] == "10"
    assert slow.http.get(f"{response.url}/results", headers=HEADERS).status_code == 404
    with pytest.raises(anthropic.AnthropicError):
        batches.results(batch.id)
    with pytest.raises(anthropic.BadRequestError, match="In progress batches cannot be deleted"):
        batches.delete(batch.id)


def test_deleted_batch_is_gone_but_its_bill_stays(server: Server) -> None:
    batch = server.ended(create(server).id)
    assert server.client.messages.batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        server.client.messages.batches.retrieve(batch.id)
    assert server.client.messages.batches.list().data == []
    assert server.control("billing")["total"]["count"] == 4


def test_cancel_half_way_keeps_what_was_done(slow: Server) -> None:
    batch = create(slow)
    slow.control("clock", {"advance_seconds": DAY / 2 + 60})
    canceled = slow.client.messages.batches.cancel(batch.id)
    assert canceled.cancel_initiated_at is not None
    assert sorted(row["type"] for row in rows(slow, batch.id).values()) == ["canceled"] * 3 + ["succeeded"]
    with pytest.raises(anthropic.BadRequestError):
        slow.client.messages.batches.cancel(batch.id)


def test_batch_expires_after_a_day_and_is_archived_after_29(slow: Server) -> None:
    batch = create(slow)
    assert slow.control("clock", {"advance_seconds": DAY + 1})["settled"]
    ended = slow.ended(batch.id)
    assert (ended.request_counts.succeeded, ended.request_counts.expired) == (2, 2)
    assert ended.ended_at == ended.expires_at
    slow.control("clock", {"advance_seconds": 28 * DAY})
    assert slow.client.messages.batches.retrieve(batch.id).archived_at is not None
    with pytest.raises(anthropic.NotFoundError, match="has no available results"):
        slow.client.messages.batches.results(batch.id)


def test_list_is_newest_first_and_walks_both_ways(server: Server) -> None:
    ids = [create(server, 1).id for _ in range(5)][::-1]
    batches = server.client.messages.batches
    assert [batch.id for batch in batches.list(limit=2)] == ids
    page = batches.list(limit=2, after_id=ids[1])
    assert ([batch.id for batch in page.data], page.has_more) == (ids[2:4], True)
    page = batches.list(limit=2, before_id=ids[4])
    assert ([batch.id for batch in page.data], page.has_more) == (ids[2:4], True)
    with pytest.raises(anthropic.BadRequestError):
        batches.list(limit=1001)


def test_other_workspaces_do_not_see_a_batch(server: Server) -> None:
    batch = create(server)
    with (
        anthropic.Anthropic(api_key="another", base_url=server.url, max_retries=0) as other,
        pytest.raises(anthropic.NotFoundError),
    ):
        other.messages.batches.retrieve(batch.id)
