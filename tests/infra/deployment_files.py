"""The deployment files as data, and what is wrong with them by the schemas of those who will read them."""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

REPOSITORY = Path(__file__).parents[2]
INFRA = REPOSITORY / "infra"
MANIFESTS = sorted([*(INFRA / "kubernetes").glob("*.yaml"), *(INFRA / "prefect").glob("*.yaml")])
KUBERNETES_VERSIONS = ("1.30", "1.37")  # the oldest that infra/README.md names, and the newest there is

Manifest = dict[str, Any]


def manifests(*paths: Path) -> list[Manifest]:
    return [document for path in paths or MANIFESTS for document in yaml.safe_load_all(path.read_text("utf-8"))]


def manifest(kind: str, name: str) -> Manifest:
    """A copy that a test may change."""
    (found,) = [one for one in manifests() if one["kind"] == kind and one["metadata"]["name"] == name]
    return copy.deepcopy(found)


def problems(one: Manifest) -> list[str]:
    """By KubeRay's fields and, for pods and everything plain, Kubernetes' own schemas; unknown fields are problems."""
    if one["apiVersion"] != "ray.io/v1":
        return _kubernetes_problems(one)
    found = [f"{error.json_path}: {error.message}" for error in _ray_validator(one["kind"]).iter_errors(one)]
    for where, template in pod_templates(one):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}} | template
        found += [f"{where}: {problem}" for problem in _kubernetes_problems(pod)]
    return found


def pod_templates(one: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Every pod template in a manifest, with the name of the part it belongs to."""
    spec = one.get("spec", {})
    if "submitterPodTemplate" in spec:
        yield "submitter", spec["submitterPodTemplate"]
    cluster = spec.get("rayClusterSpec", spec)
    if "headGroupSpec" in cluster:
        yield "head", cluster["headGroupSpec"].get("template", {})
        yield from ((group["groupName"], group.get("template", {})) for group in cluster["workerGroupSpecs"])
    elif "template" in spec:
        yield one["metadata"]["name"], spec["template"]


def cluster_spec(kind: str, name: str) -> Manifest:
    spec: Manifest = manifest(kind, name)["spec"]
    return spec.get("rayClusterSpec", spec)


def _kubernetes_problems(one: Manifest) -> list[str]:
    found = []
    for version in KUBERNETES_VERSIONS:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{'.'.join(str(step) for step in error.path)}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:  # the command line only warns of it
            found.append(error.message)
    return found


@cache
def _ray_validator(kind: str) -> jsonschema.Draft202012Validator:
    schema = yaml.safe_load(Path(__file__).with_name("kuberay.schema.yaml").read_text("utf-8"))
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})
