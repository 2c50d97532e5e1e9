"""A store on S3 that answers 503 and 500, drops connections and loses replies: nothing is lost, nothing is twice."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from infra.local.s3 import Emulator, FaultProxy, Faults
from pipelines.errors import StoreError
from pipelines.store.objects import Store
from tests.infra.s3_scripted_server import RESET, ScriptedServer, refusal
from tests.s3_fixtures import Bucket, be_impatient, use

pytestmark = pytest.mark.processes

Disturb = Callable[[Faults], FaultProxy]


@pytest.fixture
def disturb(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disturb]:
    """Put a proxy before the emulator and lead this process to it."""
    proxies: list[FaultProxy] = []

    def start(faults: Faults) -> FaultProxy:
        proxy = FaultProxy(tmp_path / f"proxy-{len(proxies)}", s3.server.endpoint, faults).start()
        proxies.append(proxy)
        use({"AWS_ENDPOINT_URL": proxy.endpoint}, monkeypatch)
        return proxy

    yield start
    for proxy in proxies:
        proxy.stop()


def test_a_lost_reply_is_not_a_lost_race(s3: Bucket, disturb: Disturb) -> None:
    proxy = disturb(Faults(lost_replies=1.0, methods=("PUT",), per_request=1))
    store = Store(s3.uri)
    assert store.create("part", b"token 1") is True
    assert [(fault.fault, fault.path) for fault in proxy.disturbances()] == [("lost_replies", f"/{s3.name}/part")]
    assert store.create("part", b"token 2") is False
    assert s3.get("part") == b"token 1"


def test_of_racers_whose_replies_are_lost_exactly_one_believes_it_has_won(s3: Bucket, disturb: Disturb) -> None:
    proxy = disturb(Faults(lost_replies=0.5, methods=("PUT",), seed=3, per_request=8))
    store = Store(s3.uri)
    for key in ("race/0", "race/1", "race/2", "race/3"):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(partial(store.create, key), [f"token {racer}".encode() for racer in range(8)]))
        assert won.count(True) == 1
        assert s3.get(key) == f"token {won.index(True)}".encode()
    assert len(proxy.disturbances()) >= 4


@pytest.mark.parametrize("fault", ["unavailable", "internal_errors", "dropped"])
def test_a_bad_spell_is_ridden_out(s3: Bucket, disturb: Disturb, fault: str) -> None:
    proxy = disturb(Faults(**{fault: 1.0}, per_request=5))
    store = Store(f"{s3.uri}/run")
    assert store.create("part", b"1") is True
    assert store.read("part") == b"1"
    assert list(store.list("")) == ["part"]
    assert Counter(fault.method for fault in proxy.disturbances()) == {"PUT": 5, "GET": 10}


@pytest.mark.prove
def test_everything_at_once(s3: Bucket, disturb: Disturb) -> None:
    proxy = disturb(
        Faults(unavailable=0.1, internal_errors=0.1, dropped=0.1, lost_replies=0.2, seed=7, paths=(f"/{s3.name}/run/",))
    )
    store = Store(f"{s3.uri}/run")
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: store.create(f"part-{number}", f"{number}".encode()), range(40)))
        again = list(pool.map(lambda number: store.create(f"part-{number}", b"another"), range(40)))
    assert created == [True] * 40
    assert again == [False] * 40
    assert {key: s3.get(key) for key in s3.all_keys()} == {f"run/part-{n}": f"{n}".encode() for n in range(40)}
    assert {fault.fault for fault in proxy.disturbances()} == {
        "unavailable",
        "internal_errors",
        "dropped",
        "lost_replies",
    }


def test_the_same_seed_disturbs_the_same_requests(s3: Bucket, disturb: Disturb) -> None:
    def disturbed() -> list[str]:
        proxy = disturb(Faults(unavailable=0.4, seed=1, methods=("GET",), paths=(f"/{s3.name}/part-",)))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(Store(s3.uri).read_if_exists, [f"part-{number}" for number in range(30)]))
        return sorted(fault.path for fault in proxy.disturbances())

    first = disturbed()
    assert 0 < len(set(first)) < 30
    assert disturbed() == first


def test_what_was_committed_outlives_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator(tmp_path / "s3") as emulator:
        use(emulator.client_variables(), monkeypatch)
        bucket = Bucket(emulator, "lasting")
        bucket.client().create_bucket(Bucket="lasting")
        store = Store(bucket.uri)
        store.create("before", b"1")
        emulator.kill()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(store.create, "during", b"2")
            emulator.start()
            assert waiting.result() is True
        assert store.create("before", b"other") is False
        assert sorted(store.list("")) == ["before", "during"]


def test_a_server_that_stays_unavailable(s3: Bucket, disturb: Disturb, monkeypatch: pytest.MonkeyPatch) -> None:
    be_impatient(monkeypatch)
    disturb(Faults(unavailable=1.0))
    with pytest.raises(StoreError) as caught:
        Store(s3.uri).create("part", b"1")
    assert str(caught.value) == (
        f"cannot write 's3://{s3.name}/part': S3 answered 503 for a minute; wait and run the same command again: "
        "nothing committed is lost"
    )


def test_a_server_that_is_not_there(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    be_impatient(monkeypatch)
    use({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, monkeypatch)
    with pytest.raises(StoreError) as caught:
        list(Store(f"{s3.uri}/run").list("plan"))
    assert str(caught.value) == (
        f"cannot list 's3://{s3.name}/run/plan': cannot reach http://127.0.0.1:9; check the network and "
        "AWS_ENDPOINT_URL, then run the same command again"
    )


def test_a_conflict_without_an_object_is_tried_again(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    conflict = refusal(409, "ConditionalRequestConflict")
    with ScriptedServer(conflict, refusal(404, "NoSuchKey"), (200, "")).serving() as server:
        use({"AWS_ENDPOINT_URL": server.endpoint}, monkeypatch)
        assert Store(s3.uri).create("part", b"1") is True
    assert server.requests == [f"PUT /{s3.name}/part", f"GET /{s3.name}/part", f"PUT /{s3.name}/part"]


def test_a_create_whose_connection_is_reset_is_repeated(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore itself does not, and a server that is killed resets its connections."""
    taken = refusal(412, "PreconditionFailed")
    with ScriptedServer(RESET, RESET, taken, (200, "1")).serving() as server:
        use({"AWS_ENDPOINT_URL": server.endpoint}, monkeypatch)
        assert Store(s3.uri).create("part", b"1") is True
    assert server.requests == [*[f"PUT /{s3.name}/part"] * 3, f"GET /{s3.name}/part"]
