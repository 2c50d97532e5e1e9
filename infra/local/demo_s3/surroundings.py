"""The environment of the demo and of every process it starts: private folders, local servers, and no way out of here.

Knows nothing of what is done in it.
"""

from __future__ import annotations

import os
from pathlib import Path

# What a user may have set that would lead the demo to a real account, server or cluster.
_LEADING_ELSEWHERE = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
    *("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SQS", "SLUICE_S3_PATH_STYLE", "RAY_ADDRESS"),
    *("PREFECT_PROFILE", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"),
    *("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"),
)
_LOCAL = "127.0.0.1,localhost"


def stay_on_this_machine(folder: Path, prefect_api: str, s3_variables: dict[str, str]) -> None:
    """Set this process's environment, which those it starts inherit.

    Args:
        folder: takes what the processes keep.
        prefect_api: URL of the demo's own Prefect server.
        s3_variables: lead to the demo's own S3.
    """
    for name in _LEADING_ELSEWHERE:
        os.environ.pop(name, None)
    os.environ.update(
        {
            **s3_variables,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": _LOCAL,
            "no_proxy": _LOCAL,
            "SLUICE_STATE_DIR": str(folder / "state"),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_UI_STATIC_DIRECTORY": str(folder / "prefect-page"),
            "PREFECT_API_URL": prefect_api,
            "PREFECT_WORKER_QUERY_SECONDS": "1",  # Prefect's 15 would be half of a run's time here
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
    )
