"""infra/README.md names what is there, and nothing that is not."""

import re

from tests.infra.deployment_files import INFRA

TEXT = (INFRA / "README.md").read_text("utf-8")
PARTS = ("aws", "docker", "kubernetes", "prefect")


def test_every_file_is_in_the_table() -> None:
    table = {name for line in TEXT.splitlines() if line.startswith("| `") for name in re.findall(r"`([^`]+)`", line)}
    files = {path.relative_to(INFRA).as_posix() for part in PARTS for path in (INFRA / part).iterdir()}
    assert files - table == {f"docker/requirements-{kind}.lock" for kind in ("cpu", "gpu")}  # "the locks beside them"


def test_every_file_in_a_command_exists() -> None:
    named = set(re.findall(rf"\binfra/((?:{'|'.join(PARTS)})/[\w.-]+)", TEXT))
    assert len(named) > 7
    assert {name for name in named if not (INFRA / name).is_file()} == set()


def test_the_stack_has_the_roles_and_parameters_it_names() -> None:
    stack = (INFRA / "aws" / "sluice.yaml").read_text("utf-8")
    roles, parameters = set(re.findall(r"`(\w+Role)`", TEXT)), set(re.findall(r"\b(\w+(?:Name|Prefix))=", TEXT))
    assert roles == {"WorkerRole", "RayHeadRole", "ListenerRole", "SubmitterRole"}
    assert parameters == {"InputBucketName", "ResultsBucketName", "BedrockPrefix"}
    assert {name for name in roles | parameters if f"\n  {name}:\n" not in stack} == set()
