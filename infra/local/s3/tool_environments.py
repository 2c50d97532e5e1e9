"""Virtual environments for tools that would fight the project's own packages.

In: a tool's name in ``tools.toml``. Out: the Python interpreter of an environment that holds it, made on first use and
kept in the checkout's ``.cache/tools``. Knows nothing of what the tools do.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "tools"
PINS = Path(__file__).with_name("tools.toml")


class ToolError(Exception):
    """A tool cannot be installed or started; the message holds what it said last."""


def tool_python(tool: str) -> Path:
    """The interpreter of the environment of ``tool``; installs it if it is not there.

    An environment appears under its name only when it is whole: it is built beside it and renamed. The lock keeps a
    second process from building it too, and ends with its holder, however that ends.

    Raises:
        ToolError: the package index has no such version or cannot be reached.
    """
    pin = tomllib.loads(PINS.read_text(encoding="utf-8"))[tool]
    environment = CACHE / f"{tool}-{pin['version']}"
    python = environment / "bin" / "python"
    if python.exists():
        return python
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{tool}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not python.exists():
            building = CACHE / f"{tool}.building"
            shutil.rmtree(building, ignore_errors=True)  # of a process that was killed
            _install(building, f"{pin['requirement']}=={pin['version']}")
            building.rename(environment)
    return python


def _install(environment: Path, requirement: str) -> None:
    python = str(environment / "bin" / "python")
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        commands = [
            [str(uv), "venv", "--quiet", "--relocatable", "--python", sys.executable, str(environment)],
            [str(uv), "pip", "install", "--quiet", "--python", python, requirement],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", str(environment)],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement],
        ]
    for command in commands:
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
        if outcome.returncode != 0:
            raise ToolError(f"cannot install {requirement}; check the package index and try again: {outcome.stderr}")
