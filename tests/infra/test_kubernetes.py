"""The Kubernetes files: known to their readers field by field, safe to run, and meaning what their comments say."""

import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect.settings
import pytest
import typer
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from typer.testing import CliRunner

from flows.cli import app
from pipelines.job.job_file import load_job
from tests.infra.deployment_files import (
    REPOSITORY,
    Manifest,
    cluster_spec,
    manifest,
    manifests,
    pod_templates,
    problems,
)

CLUSTERS = [("RayCluster", "sluice"), ("RayJob", "tickets")]


def identity(one: Manifest) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


@pytest.mark.parametrize("one", manifests(), ids=identity)
def test_every_field_is_known_to_its_reader(one: Manifest) -> None:
    assert problems(one) == []


def rename(*path: str | int, to: str) -> Callable[[Manifest], None]:
    def change(one: Any) -> None:
        for step in path[:-1]:
            one = one[step]
        one[to] = one.pop(path[-1])

    return change


def put(value: Any, *path: str | int) -> Callable[[Manifest], None]:
    def change(one: Any) -> None:
        for step in path[:-1]:
            one = one[step]
        one[path[-1]] = value

    return change


GPU = ("spec", "workerGroupSpecs", 1)
GPU_POD = (*GPU, "template", "spec")
POD = ("spec", "template", "spec")


@pytest.mark.parametrize(
    ("kind", "name", "change", "problem"),
    [
        ("RayCluster", "sluice", rename(*GPU, "minReplicas", to="minReplica"), "'minReplica' was unexpected"),
        ("RayCluster", "sluice", put("8", *GPU, "maxReplicas"), "'8' is not of type 'integer'"),
        ("RayCluster", "sluice", put("Fast", "spec", "autoscalerOptions", "upscalingMode"), "'Fast' is not one of"),
        ("RayCluster", "sluice", rename(*GPU, "template", to="podTemplate"), "'template' is a required property"),
        ("RayCluster", "sluice", rename("spec", "headGroupSpec", "rayStartParams", to="params"), "'params' was"),
        ("RayCluster", "sluice", put(0, *GPU, "rayStartParams", "num-cpus"), "0 is not of type 'string'"),
        ("RayCluster", "sluice", rename(*GPU_POD, "tolerations", to="toleration"), "'toleration' was unexpected"),
        ("RayCluster", "sluice", rename(*GPU_POD, "containers", 0, "image", to="img"), "'img' was unexpected"),
        ("RayCluster", "sluice", put("soon", *GPU_POD, "terminationGracePeriodSeconds"), "'soon' is not of type"),
        ("RayJob", "tickets", rename("spec", "backoffLimit", to="backOffLimit"), "'backOffLimit' was unexpected"),
        ("RayJob", "tickets", put("true", "spec", "shutdownAfterJobFinishes"), "'true' is not of type 'boolean'"),
        ("Deployment", "sluice-listener", rename("spec", "replicas", to="replica"), "'replica' was unexpected"),
        ("Deployment", "prefect-server", rename(*POD, "containers", 0, "livenessProbe", to="liveness"), "'liveness' w"),
        ("NetworkPolicy", "only-from-here", rename("spec", "ingress", to="ingres"), "'ingres' was unexpected"),
        ("StatefulSet", "prefect-postgresql", put("StatefulSett", "kind"), "Couldn't find schema for kind"),
    ],
)
def test_a_mistake_is_seen(kind: str, name: str, change: Callable[[Manifest], None], problem: str) -> None:
    one = manifest(kind, name)
    change(one)
    assert any(problem in found for found in problems(one)), problems(one)


@pytest.mark.parametrize(
    ("where", "pod"), [(f"{identity(one)}/{part}", pod) for one in manifests() for part, pod in pod_templates(one)]
)
def test_every_pod_may_run_where_pods_are_restricted(where: str, pod: Manifest) -> None:
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert set(container["resources"]) == {"requests", "limits"}
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        assert not container["image"].endswith(":latest")
    if where != "RayCluster/sluice/head" and where != "RayJob/tickets/head":  # the autoscaler asks Kubernetes for pods
        assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize(("kind", "name"), CLUSTERS)
def test_the_autoscaler_that_ray_puts_into_the_pod_security_is_restricted_too(kind: str, name: str) -> None:
    options = cluster_spec(kind, name)["autoscalerOptions"]
    assert options["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.mark.parametrize(("kind", "name"), CLUSTERS)
def test_rays_own_autoscaler_brings_gpus_from_none_to_eight(kind: str, name: str) -> None:
    cluster = {"metadata": {"name": name, "namespace": "sluice"}, "spec": cluster_spec(kind, name)}
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    groups = config["available_node_types"]
    assert (groups["gpu"]["min_workers"], groups["gpu"]["max_workers"]) == (0, 8)
    assert groups["gpu"]["resources"] == {"CPU": 6, "GPU": 1, "memory": 40 * 1024**3}
    assert [group["resources"]["CPU"] for name, group in groups.items() if name != "gpu"] == [0] * (len(groups) - 1)
    assert config["upscaling_speed"] == 1000  # all at once


@pytest.mark.parametrize(("kind", "name"), CLUSTERS)
def test_engines_go_to_machines_that_may_be_taken_away(kind: str, name: str) -> None:
    (engines,) = [group["template"]["spec"] for group in cluster_spec(kind, name)["workerGroupSpecs"][-1:]]
    assert {rule["key"] for rule in engines["tolerations"]} == {"nvidia.com/gpu", "sluice/spot"}
    assert engines["nodeSelector"] == {"sluice/engine": "l40s"}
    resources = engines["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]  # evicted last


@pytest.mark.parametrize(("kind", "name"), CLUSTERS)
def test_ray_is_the_pinned_one(kind: str, name: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"ray=={cluster_spec(kind, name)['rayVersion']}" in project["dependencies"]


def test_images_carry_the_projects_version() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    containers = [
        container for one in manifests() for _, pod in pod_templates(one) for container in pod["spec"]["containers"]
    ]
    images = {container["image"] for container in containers}
    assert images == {f"ghcr.io/acme/sluice:{version}-{kind}" for kind in ("cpu", "gpu")} | {"postgres:17.6-bookworm"}


@pytest.mark.parametrize(
    ("config_map", "key"), [("tickets-job", "job.yaml"), ("drop-folder-job", "default.yaml")], ids=str
)
def test_job_files_in_them_are_taken(config_map: str, key: str, tmp_path: Path) -> None:
    path = tmp_path / key
    path.write_text(manifest("ConfigMap", config_map)["data"][key])
    assert load_job(path, {}).model == "qwen3.5-35b-a3b"


def test_everything_is_in_the_namespace_that_is_made() -> None:
    namespaces = {one["metadata"].get("namespace") for one in manifests() if one["kind"] != "Namespace"}
    assert namespaces == {manifest("Namespace", "sluice")["metadata"]["name"]}


def test_what_is_referred_to_exists() -> None:
    made = {(one["kind"], one["metadata"]["name"]) for one in manifests()}
    for one in manifests():
        for _, pod in pod_templates(one):
            spec = pod["spec"]
            account = spec.get("serviceAccountName")
            assert account is None or ("ServiceAccount", account) in made
            for volume in spec.get("volumes", []):
                assert "configMap" not in volume or ("ConfigMap", volume["configMap"]["name"]) in made
                claim = volume.get("persistentVolumeClaim")
                assert claim is None or ("PersistentVolumeClaim", claim["claimName"]) in made
            for source in (source for container in spec["containers"] for source in container.get("envFrom", [])):
                assert "configMapRef" not in source or ("ConfigMap", source["configMapRef"]["name"]) in made


def commands() -> dict[str, Any]:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return dict(group.commands)


def environment_of(one: Manifest) -> set[str]:
    pods = [pod["spec"] for _, pod in pod_templates(one)]
    return {entry["name"] for pod in pods for container in pod["containers"] for entry in container.get("env", [])}


def test_prefect_knows_its_settings() -> None:
    names = {name for one in manifests() for name in environment_of(one)} | set(
        manifest("ConfigMap", "sluice-settings")["data"]
    )
    prefects = {name for name in names if name.startswith("PREFECT_")}
    assert len(prefects) > 5
    assert {name for name in prefects if not hasattr(prefect.settings, name)} == set()


@pytest.mark.parametrize(
    "words",
    [
        manifest("RayJob", "tickets")["spec"]["entrypoint"].split(),
        manifest("Deployment", "sluice-listener")["spec"]["template"]["spec"]["containers"][0]["args"],
    ],
    ids=lambda words: words[1],
)
def test_the_command_takes_its_arguments(words: list[str]) -> None:
    pipeline, command, *arguments = words
    assert pipeline == "pipeline"
    taken = commands()[command].make_context(command, arguments)  # refuses what the command does not know
    assert taken.params


def test_a_wrong_option_is_seen() -> None:
    ran = CliRunner().invoke(app, ["listen", "s3://acme-inbox/inbox/", "--job=a.yaml", "--queues=b"])
    assert ran.exit_code == 2
    assert "No such option: --queues" in ran.output


def shell_scripts() -> list[str]:
    containers = [
        container for one in manifests() for _, pod in pod_templates(one) for container in pod["spec"]["containers"]
    ]
    commands = [container["command"] for container in containers if "command" in container]
    assert all(command[:2] == ["/bin/bash", "-c"] for command in commands)
    return [script for _, _, script in commands]


def is_whole(script: str) -> bool:
    return not subprocess.run(["bash", "-n", "-c", script], check=False, capture_output=True).returncode


def test_shell_scripts_are_whole() -> None:
    assert len(shell_scripts()) == 3
    assert [script for script in shell_scripts() if not is_whole(script)] == []
    assert not is_whole("until false; do :")
