"""The image files: linted, and made of what the repository has and the locks pin. No image is built here."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.infra.deployment_files import INFRA, REPOSITORY

DOCKERFILES = sorted((INFRA / "docker").glob("*.Dockerfile"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
# What the CUDA build of vLLM pins in another version than its CPU build.
DIFFERENT_ON_GPU = {"torch", "triton", "apache-tvm-ffi"}


def lint(dockerfile: str) -> str:
    hadolint = Path(sys.executable).with_name("hadolint")
    ran = subprocess.run([hadolint, "--no-color", "-"], input=dockerfile, capture_output=True, text=True, check=False)
    assert bool(ran.returncode) is bool(ran.stdout), ran.stderr
    return ran.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_linter_finds_nothing(path: Path) -> None:
    assert lint(path.read_text("utf-8")) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("FROM python:3.11.14-slim-bookworm\n", "FROM python\n", "DL3006"),
        ("uv==0.13.9", "uv", "DL3013"),
        ("--no-cache-dir ", "", "DL3042"),
        (" --no-install-recommends", "", "DL3015"),
        ("    && rm -rf /var/lib/apt/lists/* \\\n", "", "DL3009"),
        ("--yes ", "", "DL3014"),
        ("WORKDIR /home/sluice", "WORKDIR home", "DL3000"),
        ("USER 1000", "USR 1000", "unexpected"),
    ],
)
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_linter_sees_a_mistake(path: Path, right: str, wrong: str, rule: str) -> None:
    text = path.read_text("utf-8")
    assert right in text
    assert rule in lint(text.replace(right, wrong))


def instructions(path: Path, name: str) -> list[str]:
    joined = path.read_text("utf-8").replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_it_does_not_run_as_root(path: Path) -> None:
    assert instructions(path, "USER") == ["1000"]
    assert "useradd --uid 1000" in path.read_text("utf-8")


def test_both_images_have_the_same_base() -> None:
    bases = {line.split()[0] for path in DOCKERFILES for line in instructions(path, "FROM")}
    assert bases == {"python:3.11.14-slim-bookworm"}


def allowed() -> set[str]:
    """What .dockerignore lets into an image."""
    lines = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines  # nothing, unless said
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def test_what_an_image_may_see_exists() -> None:
    assert [pattern for pattern in allowed() if not list(REPOSITORY.glob(pattern))] == []


def test_every_package_of_the_project_goes_into_the_image() -> None:
    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    packages = {pattern.rstrip("*") for pattern in config["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages - allowed() == {"infra"}  # of which it needs the local stand-ins only
    assert {"infra/__init__.py", "infra/local", "README.md", "pyproject.toml"} <= allowed()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_exists(path: Path) -> None:
    copied = [line.split()[0] for line in instructions(path, "COPY") if not line.startswith("--from")]
    assert copied == [f"infra/docker/requirements-{path.stem}.lock", "."]
    assert (REPOSITORY / copied[0]).is_file()


def locked(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_lock_has_all_that_the_project_asks_for(kind: str) -> None:
    versions = locked(INFRA / "docker" / f"requirements-{kind}.lock")
    extras = PROJECT["optional-dependencies"]
    for wanted in map(Requirement, PROJECT["dependencies"] + extras[kind] + extras["cluster"]):
        assert wanted.specifier.contains(versions[wanted.name]), wanted


def test_images_run_the_versions_that_are_tested() -> None:
    tested = locked(REPOSITORY / "requirements-cpu.lock")
    for kind, exempt in [("cpu", set()), ("gpu", DIFFERENT_ON_GPU)]:
        image = locked(INFRA / "docker" / f"requirements-{kind}.lock")
        different = {name for name, version in image.items() if tested.get(name, version) != version}
        assert different == exempt


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_tools_of_development_stay_out(kind: str) -> None:
    tools = {"cfn-lint", "hypothesis", "mypy", "pytest", "ruff"}
    assert tools & set(locked(INFRA / "docker" / f"requirements-{kind}.lock")) == set()
