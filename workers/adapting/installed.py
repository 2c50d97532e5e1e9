"""Whether this machine can train at all; asked long before torch is imported."""

from __future__ import annotations

from importlib.util import find_spec

from pipelines.errors import JobError


def check_installed() -> None:
    """Look for the packages that training needs.

    Raises:
        JobError: with those that are missing.
    """
    if missing := [name for name in ("torch", "peft") if find_spec(name) is None]:
        raise JobError([f"adapt: {' and '.join(missing)} must be installed for it: pip install 'sluice[adapt]'"])
