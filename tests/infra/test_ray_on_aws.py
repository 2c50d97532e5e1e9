"""The file for `ray up`: read as Ray reads it, its machines checked by AWS's own parameter model, no address asked."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import boto3
import botocore.validate
import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.infra.deployment_files import INFRA, cluster_spec

Config = dict[str, Any]
GPU = ("available_node_types", "gpu-spot")


@pytest.fixture
def config() -> Config:
    loaded: Config = yaml.safe_load((INFRA / "aws" / "ray-cluster.yaml").read_text("utf-8"))
    return copy.deepcopy(loaded)


def test_ray_takes_it(config: Config) -> None:
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["available_node_types"]["gpu-spot"]["resources"] == {"CPU": 8, "GPU": 1}


def test_ray_installs_nothing_over_the_image(config: Config) -> None:
    prepared = prepare_config(config)
    commands = prepared["setup_commands"] + prepared["head_setup_commands"] + prepared["worker_setup_commands"]
    assert commands == []


def rename(*path: str, to: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for step in path[:-1]:
            config = config[step]
        config[to] = config.pop(path[-1])

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (rename("idle_timeout_minutes", to="idle_timeout"), "'idle_timeout' was unexpected"),
        (rename(*GPU, "min_workers", to="min_worker"), "'min_worker' was unexpected"),
        (rename("docker", "run_options", to="options"), "'options' was unexpected"),
        (rename("auth", "ssh_user", to="user"), "'user' was unexpected"),
    ],
)
def test_ray_sees_a_mistake(config: Config, change: Callable[[Config], None], problem: str) -> None:
    change(config)
    with pytest.raises(jsonschema.ValidationError, match=re.escape(problem)):
        validate_config(config)


def instance_problems(node_config: Config) -> str:
    """What AWS's API model says of a machine; the numbers and the subnet are Ray's to give."""
    operation = boto3.client("ec2", region_name="us-east-1").meta.service_model.operation_model("RunInstances")
    request = node_config | {"MinCount": 1, "MaxCount": 1}
    report: str = botocore.validate.ParamValidator().validate(request, operation.input_shape).generate_report()
    return report


def test_aws_knows_every_field_of_the_machines(config: Config) -> None:
    kinds = config["available_node_types"]
    assert {name: instance_problems(kind["node_config"]) for name, kind in kinds.items()} == dict.fromkeys(kinds, "")


@pytest.mark.parametrize(
    ("path", "to", "problem"),
    [
        (("InstanceMarketOptions",), "MarketOptions", 'Unknown parameter in input: "MarketOptions"'),
        (("InstanceMarketOptions", "MarketType"), "Type", 'Unknown parameter in InstanceMarketOptions: "Type"'),
        (("MetadataOptions", "HttpTokens"), "Tokens", 'Unknown parameter in MetadataOptions: "Tokens"'),
    ],
)
def test_aws_sees_a_mistake(config: Config, path: tuple[str, ...], to: str, problem: str) -> None:
    machine = copy.deepcopy(config["available_node_types"]["gpu-spot"]["node_config"])
    rename(*path, to=to)(machine)
    assert problem in instance_problems(machine)


def test_gpus_come_from_none_on_spot_machines(config: Config) -> None:
    engines = config["available_node_types"]["gpu-spot"]
    assert engines["min_workers"] == 0 < engines["max_workers"]
    assert engines["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert config["provider"]["cache_stopped_nodes"] is False  # spot machines cannot be stopped
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}


def test_machines_are_encrypted_and_give_their_role_to_nobody_else(config: Config) -> None:
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert [device["Ebs"]["Encrypted"] for device in kind["node_config"]["BlockDeviceMappings"]] == [True]


def test_it_uses_what_the_stack_makes(config: Config) -> None:
    stack = (INFRA / "aws" / "sluice.yaml").read_text("utf-8")
    kinds = config["available_node_types"]
    profiles = {name: kind["node_config"]["IamInstanceProfile"]["Name"] for name, kind in kinds.items()}
    assert profiles == {"head": "sluice-ray-head", "gpu-spot": "sluice-ray-worker"}
    for profile in profiles.values():
        assert f"${{AWS::StackName}}{profile.removeprefix('sluice')}\n" in stack
    assert re.search(rf"RayClusterName:(\n +.+)+Default: {config['cluster_name']}\n", stack)


def test_both_kinds_of_cluster_notice_a_lost_machine_alike(config: Config) -> None:
    start = " ".join(config["head_start_ray_commands"])
    head = cluster_spec("RayCluster", "sluice")["headGroupSpec"]["template"]["spec"]["containers"][0]
    settings = {one["name"]: one["value"] for one in head["env"] if one["name"].startswith("RAY_health_check")}
    assert len(settings) == 4
    assert dict(re.findall(r"(RAY_health_check_\w+)=(\d+)", start)) == settings


def test_no_secret_is_in_it(config: Config) -> None:
    assert "RAY_AUTH_TOKEN=" not in json.dumps(config)
    assert "ANTHROPIC" not in json.dumps(config)
