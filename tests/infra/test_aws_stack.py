"""The CloudFormation template: linted, then really created on the emulator, and each role tried with its own keys."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from flows.drop_folder.inbox import Inbox
from flows.drop_folder.queue import Queue
from infra.local.s3 import Emulator
from infra.local.s3.servers import REGION, ROOT_KEY
from pipelines.documents.sources.sources import list_sources, open_source
from pipelines.errors import StoreError
from pipelines.store.objects import Store
from tests.infra.deployment_files import INFRA
from tests.s3_fixtures import forget_clients, use

pytestmark = pytest.mark.processes

TEMPLATE = INFRA / "aws" / "sluice.yaml"
INPUT, RESULTS = "acme-inbox", "acme-results"


# By the rule that should find it: what is right, and a mistake in its place.
MISTAKES = {
    "E1010": ("!GetAtt DropQueue.Arn", "!GetAtt DropQueu.Arn"),
    "E3002": ("NoncurrentVersionExpiration:", "NoncurrentVersionExpiry:"),
    "E3012": ("VisibilityTimeout: 300", "VisibilityTimeout: 5 minutes"),
    "E3030": ("SSEAlgorithm: AES256", "SSEAlgorithm: AES"),
    "E3512": ('Version: "2012-10-17"', 'Version: "2012-10-71"'),
}


def lint(*templates: Path) -> list[str]:
    command = [Path(sys.executable).with_name("cfn-lint"), "--format", "parseable", "--template", *templates]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bool(ran.returncode) is bool(ran.stdout), ran.stderr
    return ran.stdout.splitlines()


def test_the_linter_finds_nothing() -> None:
    assert lint(TEMPLATE) == []


@pytest.mark.prove
def test_the_linter_sees_mistakes(tmp_path: Path) -> None:
    text = TEMPLATE.read_text("utf-8")
    for rule, (right, wrong) in MISTAKES.items():
        assert right in text
        (tmp_path / f"{rule}.yaml").write_text(text.replace(right, wrong, 1))
    findings = lint(*tmp_path.iterdir())
    seen = {rule for rule in MISTAKES if any(f"{rule}.yaml" in line and f":{rule}:" in line for line in findings)}
    assert seen == set(MISTAKES)


def root_client(emulator: Emulator, service: str) -> Any:
    keys = {"aws_access_key_id": ROOT_KEY, "aws_secret_access_key": ROOT_KEY}
    return boto3.client(service, endpoint_url=emulator.endpoint, region_name=REGION, **keys)


@dataclass(frozen=True)
class Stack:
    """The stack as it was created, and keys with the permissions of one of its roles."""

    emulator: Emulator
    outputs: dict[str, str]
    names: dict[str, str]

    def root(self, service: str) -> Any:
        return root_client(self.emulator, service)

    def keys_of(self, role: str) -> dict[str, str]:
        """Variables of a user with exactly the policies that the role has."""
        iam = self.root("iam")
        user = f"{role}-{time.monotonic_ns()}"
        iam.create_user(UserName=user)
        for policy in iam.list_attached_role_policies(RoleName=self.names[role])["AttachedPolicies"]:
            iam.attach_user_policy(UserName=user, PolicyArn=policy["PolicyArn"])
        key = iam.create_access_key(UserName=user)["AccessKey"]
        own = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        return self.emulator.client_variables() | own


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Emulator(tmp_path_factory.mktemp("stack"), auth=True) as emulator:
        formation = root_client(emulator, "cloudformation")
        names = {"InputBucketName": INPUT, "ResultsBucketName": RESULTS, "BedrockPrefix": "bedrock/"}
        formation.create_stack(
            StackName="sluice",
            TemplateBody=TEMPLATE.read_text("utf-8"),
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in names.items()],
        )
        formation.get_waiter("stack_create_complete").wait(
            StackName="sluice", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        (created,) = formation.describe_stacks(StackName="sluice")["Stacks"]
        resources = formation.describe_stack_resources(StackName="sluice")["StackResources"]
        yield Stack(
            emulator,
            {output["OutputKey"]: output["OutputValue"] for output in created["Outputs"]},
            {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources},
        )


def test_it_tells_what_the_other_files_need(stack: Stack) -> None:
    assert stack.outputs["InputUri"] == f"s3://{INPUT}/inbox/"
    assert stack.outputs["ResultsUri"] == f"s3://{RESULTS}/"
    assert {"QueueUrl", "WorkerRoleArn", "ListenerRoleArn", "SubmitterRoleArn", "BedrockRoleArn"} <= set(stack.outputs)


@pytest.mark.parametrize("bucket", [INPUT, RESULTS])
def test_buckets_are_private_encrypted_and_keep_versions(stack: Stack, bucket: str) -> None:
    s3 = stack.root("s3")
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def receive(stack: Stack, queue: str = "QueueUrl", **how: int) -> list[dict[str, Any]]:
    arguments = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": 1} | how
    messages = stack.root("sqs").receive_message(QueueUrl=stack.outputs[queue], **arguments).get("Messages", [])
    return [json.loads(message["Body"]) | {"receipt": message["ReceiptHandle"]} for message in messages]


def empty_queue(stack: Stack) -> None:
    stack.root("sqs").purge_queue(QueueUrl=stack.outputs["QueueUrl"])


def test_a_file_in_the_drop_folder_is_announced_and_no_other(stack: Stack) -> None:
    empty_queue(stack)
    for key in ("inbox/new file.jsonl", "elsewhere/a.jsonl", "status/inbox/a.json", "rejected/inbox/a.rejected.json"):
        stack.root("s3").put_object(Bucket=INPUT, Key=key, Body=b"{}")
    records = [record for message in receive(stack) for record in message.get("Records", [])]
    assert [record["s3"]["object"]["key"] for record in records] == ["inbox/new+file.jsonl"]


def test_an_announcement_that_fails_five_times_is_put_aside(stack: Stack) -> None:
    empty_queue(stack)
    stack.root("s3").put_object(Bucket=INPUT, Key="inbox/poison.jsonl", Body=b"{}")
    tries = [len(receive(stack, VisibilityTimeout=0)) for _ in range(6)]
    assert tries == [1, 1, 1, 1, 1, 0]
    (put_aside,) = receive(stack, "DeadLetterQueueUrl")
    assert put_aside["Records"][0]["s3"]["object"]["key"] == "inbox/poison.jsonl"


def test_buckets_refuse_unencrypted_connections(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    use(stack.keys_of("WorkerRole"), monkeypatch)
    with pytest.raises(StoreError) as refused:
        Store(f"s3://{RESULTS}").create("a", b"1")
    assert str(refused.value) == (
        f"cannot write 's3://{RESULTS}/a': access denied; allow s3:PutObject on s3://{RESULTS}/a"
    )
    forget_clients()


@pytest.fixture(scope="module")
def plain_stack(stack: Stack) -> Stack:
    """Without the rule that the emulator, which speaks HTTP only, can not meet."""
    for bucket in (INPUT, RESULTS):
        stack.root("s3").delete_bucket_policy(Bucket=bucket)
    return stack


@pytest.fixture
def as_role(plain_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    yield lambda role: use(plain_stack.keys_of(role), monkeypatch)
    forget_clients()


@pytest.mark.parametrize("role", ["WorkerRole", "RayHeadRole", "ListenerRole", "SubmitterRole"])
def test_each_role_can_do_what_a_run_does(role: str, plain_stack: Stack, as_role: Callable[[str], None]) -> None:
    plain_stack.root("s3").put_object(Bucket=INPUT, Key="tickets/a.txt", Body=b"a text")
    as_role(role)
    store = Store(f"s3://{RESULTS}/{role}/run")
    assert store.create("plan/part", b"1")
    assert not store.create("plan/part", b"2")
    assert store.read("plan/part") == b"1"
    assert store.read_if_exists("plan/other") is None
    assert not store.exists("plan/other")
    assert list(store.list("plan")) == ["plan/part"]
    (source,) = list_sources(f"s3://{INPUT}/tickets/")
    with open_source(source) as stream:
        assert b"".join(iter(lambda: stream.read1(100), b"")) == b"a text"


def own_client(service: str) -> Any:
    """As whom the environment says; its own session, since boto3 keeps the first one's keys."""
    return boto3.Session(region_name=REGION).client(service)


def test_the_listener_can_do_what_it_does_all_day(plain_stack: Stack, as_role: Callable[[str], None]) -> None:
    empty_queue(plain_stack)
    plain_stack.root("s3").put_object(Bucket=INPUT, Key="inbox/b.txt", Body=b"a text")
    as_role("ListenerRole")
    url = plain_stack.outputs["QueueUrl"]
    queue = Queue(url)
    assert queue.tries == 5
    message = queue.receive(wait_seconds=1)
    assert message
    own_client("sqs").change_message_visibility(QueueUrl=url, ReceiptHandle=message.receipt, VisibilityTimeout=600)
    inbox = Inbox(plain_stack.outputs["InputUri"])
    inbox.check()
    (file,) = [file for file in inbox.files() if file.key == "inbox/b.txt"]
    inbox.reject(file, ["no job"], "send one")
    inbox.mark_started(file, {"run": "run_1"})
    queue.delete(message)
    assert inbox.is_started(file)


def test_a_submitter_can_hand_in_documents(as_role: Callable[[str], None]) -> None:
    as_role("SubmitterRole")
    own_client("s3").put_object(Bucket=INPUT, Key="inbox/c.txt", Body=b"a text")


def put(bucket: str, key: str) -> Callable[[Stack], object]:
    return lambda _: own_client("s3").put_object(Bucket=bucket, Key=key, Body=b"1")


def delete(bucket: str, key: str) -> Callable[[Stack], object]:
    return lambda _: own_client("s3").delete_object(Bucket=bucket, Key=key)


def receive_as_oneself(stack: Stack) -> object:
    return own_client("sqs").receive_message(QueueUrl=stack.outputs["QueueUrl"])


@pytest.mark.parametrize(
    ("role", "attempt", "action"),
    [
        ("WorkerRole", put(INPUT, "inbox/a.txt"), "s3:PutObject"),
        ("WorkerRole", delete(RESULTS, "run/plan/part"), "s3:DeleteObject"),
        ("WorkerRole", delete(INPUT, "inbox/a.txt"), "s3:DeleteObject"),
        ("WorkerRole", lambda _: own_client("s3").list_objects_v2(Bucket="another"), "s3:ListBucket"),
        ("WorkerRole", lambda _: own_client("s3").put_bucket_policy(Bucket=RESULTS, Policy="{}"), "s3:PutBucketPolicy"),
        ("WorkerRole", receive_as_oneself, "sqs:ReceiveMessage"),
        ("WorkerRole", lambda _: own_client("iam").create_user(UserName="another"), "iam:CreateUser"),
        ("ListenerRole", put(INPUT, "inbox/a.txt"), "s3:PutObject"),
        ("ListenerRole", delete(INPUT, "inbox/a.txt"), "s3:DeleteObject"),
        ("ListenerRole", delete(INPUT, "status/_claims/a.json"), "s3:DeleteObject"),
        (
            "ListenerRole",
            lambda stack: own_client("sqs").send_message(QueueUrl=stack.outputs["QueueUrl"], MessageBody="{}"),
            "sqs:SendMessage",
        ),
        ("SubmitterRole", put(INPUT, "status/_claims/a.json"), "s3:PutObject"),
        ("SubmitterRole", delete(INPUT, "inbox/a.txt"), "s3:DeleteObject"),
        ("SubmitterRole", receive_as_oneself, "sqs:ReceiveMessage"),
        ("RayHeadRole", delete(RESULTS, "run/plan/part"), "s3:DeleteObject"),
    ],
)
def test_nothing_else_is_allowed(
    role: str, attempt: Callable[[Stack], object], action: str, plain_stack: Stack, as_role: Callable[[str], None]
) -> None:
    as_role(role)
    with pytest.raises(ClientError, match=rf"\(AccessDenied\).* not authorized to perform: {re.escape(action)} "):
        attempt(plain_stack)


def test_the_store_names_the_permission_that_is_missing(as_role: Callable[[str], None]) -> None:
    as_role("WorkerRole")
    with pytest.raises(StoreError) as refused:
        Store(f"s3://{INPUT}").create("inbox/a.txt", b"1")
    assert str(refused.value) == (
        f"cannot write 's3://{INPUT}/inbox/a.txt': access denied; allow s3:PutObject on s3://{INPUT}/inbox/a.txt"
    )
