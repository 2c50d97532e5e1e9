"""An error for programs: the same few names whatever went wrong."""

from __future__ import annotations

from typing import Any

from pipelines.errors import JobError, RunNotFoundError, ServiceError, SluiceError


def error_as_json(error: BaseException, exit_code: int) -> dict[str, Any]:
    """``kind`` is what a program may decide by; ``problems`` are those of a job, one by one."""
    problems = error.problems if isinstance(error, JobError) else []
    message = str(error) if isinstance(error, SluiceError) else f"unexpected {type(error).__name__}"
    return {"error": {"kind": _kind(error), "message": message, "problems": problems, "exit_code": exit_code}}


def _kind(error: BaseException) -> str:
    if isinstance(error, JobError):
        return "job"
    if isinstance(error, RunNotFoundError):
        return "run_not_found"
    if isinstance(error, ServiceError):
        return "service"
    return "failed" if isinstance(error, SluiceError) else "unexpected"
