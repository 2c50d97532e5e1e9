"""Third parties that report home, or print, unless they are told not to before they are imported."""

from __future__ import annotations

import os

# Third parties that report home unless told not to. A user's own setting wins.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "ANTHROPIC_OPEN_TELEMETRY": "false",
    "TOKENIZERS_PARALLELISM": "true",
}


def quiet_third_parties() -> None:
    """To be called before Ray, Prefect, vLLM or the SDK is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
