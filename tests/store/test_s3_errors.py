"""What a person reads when S3 refuses: the item, the reason, the next move; never a key or a signature."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local.s3 import Emulator
from pipelines.errors import StoreError
from pipelines.store import objects
from pipelines.store.objects import Store
from tests.infra.s3_scripted_server import ScriptedServer, refusal
from tests.s3_fixtures import Bucket, be_impatient, forget_clients, fresh_bucket, use

POLICY = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": %s, "Resource": "*"}]}"""
EXPIRED = "the AWS session token has expired; renew it and run the same command again: nothing committed is lost"


@pytest.fixture(scope="session")
def strict_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("strict"), auth=True) as emulator:
        yield emulator


@pytest.fixture
def strict(strict_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    yield fresh_bucket(strict_emulator, monkeypatch)
    forget_clients()


def become(bucket: Bucket, actions: str, monkeypatch: pytest.MonkeyPatch, secret: str | None = None) -> None:
    """Go on as a user who may do only this."""
    iam = bucket.client("iam")
    iam.create_user(UserName=bucket.name)
    iam.put_user_policy(UserName=bucket.name, PolicyName="only", PolicyDocument=POLICY % actions)
    key = iam.create_access_key(UserName=bucket.name)["AccessKey"]
    secret = secret or key["SecretAccessKey"]
    use({"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": secret}, monkeypatch)


def message(act: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        act()
    return str(caught.value)


def test_a_bucket_that_is_not_there(s3: Bucket) -> None:
    store = Store("s3://nobody-has-this/run")
    expected = "there is no bucket 'nobody-has-this'; create it or mend its name"
    assert message(lambda: store.create("a", b"1")) == f"cannot write 's3://nobody-has-this/run/a': {expected}"
    assert message(lambda: store.read("a")) == f"cannot read 's3://nobody-has-this/run/a': {expected}"
    assert message(lambda: list(store.list("plan"))) == f"cannot list 's3://nobody-has-this/run/plan': {expected}"


def test_a_permission_that_is_missing_is_named(strict: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    become(strict, '"s3:GetBucketLocation"', monkeypatch)
    store = Store(f"{strict.uri}/run")
    where = f"s3://{strict.name}/run/a"
    assert message(lambda: store.create("a", b"1")) == (
        f"cannot write '{where}': access denied; allow s3:PutObject on {where}"
    )
    assert message(lambda: store.read("a")) == f"cannot read '{where}': access denied; allow s3:GetObject on {where}"
    assert message(lambda: list(store.list("plan"))) == (
        f"cannot list 's3://{strict.name}/run/plan': access denied; allow s3:ListBucket on s3://{strict.name}"
    )
    assert message(lambda: store.exists("a")) == message(lambda: store.read("a"))


def test_three_permissions_are_all_a_store_needs(strict: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    become(strict, '["s3:PutObject", "s3:GetObject", "s3:ListBucket"]', monkeypatch)
    store = Store(f"{strict.uri}/run")
    assert store.create("plan/a", b"1") is True
    assert store.create("plan/a", b"2") is False
    assert store.exists("plan/a")
    assert not store.exists("plan/b")
    assert list(store.list("plan")) == ["plan/a"]


def test_a_wrong_secret(strict: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    become(strict, '"s3:*"', monkeypatch, secret="swordfish")
    assert message(lambda: Store(strict.uri).read("a")) == (
        f"cannot read 's3://{strict.name}/a': the AWS secret key does not fit the access key; "
        "check AWS_SECRET_ACCESS_KEY, AWS_PROFILE"
    )


def test_an_access_key_that_nobody_knows(strict: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    use({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, monkeypatch)
    assert message(lambda: Store(strict.uri).read("a")) == (
        f"cannot read 's3://{strict.name}/a': the AWS access key is not known there; "
        "check AWS_ACCESS_KEY_ID, AWS_PROFILE, the endpoint"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal(400, "ExpiredToken"), EXPIRED),
        (
            refusal(400, "InvalidToken"),
            "the AWS session token is not valid; check AWS_SESSION_TOKEN or renew the profile's",
        ),
        (refusal(403, "RequestTimeTooSkewed"), "this machine's clock is wrong; set it"),
        (
            refusal(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            "the bucket 'inbox' is in eu-west-1; set AWS_REGION=eu-west-1",
        ),
        (
            (403, "<Error><Code>AccessDenied</Code><Message>not authorized to perform: kms:Decrypt</Message></Error>"),
            "access denied; allow kms:Decrypt on s3://inbox/run/a",
        ),
    ],
)
def test_refusals_that_only_aws_gives(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], reason: str
) -> None:
    with ScriptedServer(answer).serving() as server:
        use({"AWS_ENDPOINT_URL": server.endpoint}, monkeypatch)
        assert message(lambda: Store("s3://inbox/run").read("a")) == f"cannot read 's3://inbox/run/a': {reason}"


def test_a_head_is_refused_without_a_reason_but_the_message_has_one(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer((400, ""), refusal(400, "ExpiredToken")).serving() as server:
        use({"AWS_ENDPOINT_URL": server.endpoint}, monkeypatch)
        assert message(lambda: Store("s3://inbox").exists("a")) == f"cannot read 's3://inbox/a': {EXPIRED}"
    assert server.requests == ["HEAD /inbox/a", "GET /inbox/a"]


def test_a_bucket_in_another_region(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    use({"AWS_REGION": "eu-west-1"}, monkeypatch)
    assert message(lambda: Store(s3.uri).create("a", b"1")) == (
        f"cannot write 's3://{s3.name}/a': the bucket '{s3.name}' is in another region; set AWS_REGION to it"
    )


def test_no_credentials_at_all(s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    nowhere = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), "AWS_CONFIG_FILE": str(tmp_path / "none")}
    use({"AWS_EC2_METADATA_DISABLED": "true", **nowhere}, monkeypatch)
    assert message(lambda: Store(s3.uri)) == (
        f"cannot open the bucket '{s3.name}': no AWS credentials found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or give this machine a role"
    )


def test_a_profile_that_is_not_there(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    use({"AWS_PROFILE": "elsewhere"}, monkeypatch)
    assert message(lambda: Store(s3.uri)) == (
        f"cannot open the bucket '{s3.name}': The config profile (elsewhere) could not be found; "
        "mend the AWS configuration"
    )


def test_a_profile_gives_keys_and_region(s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        "[profile inbox]\naws_access_key_id = test\naws_secret_access_key = test\nregion = eu-west-1\n"
    )
    s3.client().create_bucket(Bucket=f"{s3.name}-eu", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    use({"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_PROFILE": "inbox"}, monkeypatch)
    assert Store(f"{s3.uri}-eu").create("a", b"1") is True


@pytest.mark.parametrize(
    ("path_style", "url"),
    [
        ({}, "http://s3.example/inbox/a"),
        ({"SLUICE_S3_PATH_STYLE": "true"}, "http://s3.example/inbox/a"),
        ({"SLUICE_S3_PATH_STYLE": "false"}, "http://inbox.s3.example/a"),
    ],
)
def test_the_bucket_is_in_the_path_or_in_the_host_name(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch, path_style: dict[str, str], url: str
) -> None:
    with ScriptedServer((200, "1")).serving() as server:  # as a proxy, it is told the host name, and none is looked up
        proxy = {"HTTP_PROXY": server.endpoint, "http_proxy": server.endpoint}
        use({"AWS_ENDPOINT_URL": "http://s3.example", **proxy, **path_style}, monkeypatch)
        assert Store("s3://inbox").read("a") == b"1"
    assert server.requests == [f"GET {url}"]


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "localhost", "ftp://host", "http://", ""])
def test_an_endpoint_that_is_no_url(s3: Bucket, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    use({"AWS_ENDPOINT_URL": endpoint}, monkeypatch)
    assert message(lambda: Store(s3.uri)) == (
        f"AWS_ENDPOINT_URL is '{endpoint}'; write http://host:port or https://host, or unset it"
    )


@pytest.mark.parametrize(("root", "bucket"), [("s3://", ""), ("s3://a", "a"), ("s3://two words/x", "two words")])
def test_a_name_that_no_bucket_can_have(root: str, bucket: str) -> None:
    assert message(lambda: Store(root)) == (
        f"cannot open the bucket '{bucket}': no bucket can have this name; write s3://bucket/prefix"
    )


def test_without_an_endpoint_it_is_aws(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer((200, "1")).serving() as server:  # told the host name, as a proxy
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        be_impatient(monkeypatch)
        use({"HTTPS_PROXY": server.endpoint, "https_proxy": server.endpoint}, monkeypatch)
        message(lambda: Store("s3://inbox").read("a"))
    assert server.requests[0] == "CONNECT inbox.s3.us-east-1.amazonaws.com:443"


def test_an_endpoint_for_s3_alone_goes_first(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    use({"AWS_ENDPOINT_URL_S3": s3.server.endpoint, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, monkeypatch)
    assert Store(s3.uri).create("a", b"1") is True


def test_an_object_too_large_for_one_request(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_MAX_S3_OBJECT_BYTES", 1_000)
    store = Store(s3.uri)
    assert store.create("part", b"x" * 1_000) is True
    assert message(lambda: store.create("larger", b"x" * 1_001)) == (
        f"cannot write 's3://{s3.name}/larger': 1,001 bytes, where S3 takes 1,000 in one request; "
        "parts should be far smaller: please report this"
    )
