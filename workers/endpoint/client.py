"""One call to a first tier over HTTP, made again only where that is free.

A call to one's own server is free to repeat. Of a hosted one, only a call that was refused for sure, or never left this
machine, is made again: any other may have been answered, and billed. Neither the key, nor a document's text, nor what a
server says of one reaches a message.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from pipelines.errors import EngineError, JobError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.settings import secret_named

# Refused before any work was done, whoever runs the server.
_NOT_TAKEN = {429, 503, 529}
_TROUBLE = {408, 409, 425, 500, 502, 504, 520, 522, 524} | _NOT_TAKEN
_NEVER_LEFT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_ATTEMPTS = 8
_ATTEMPTS_AT_A_FAULT = 3  # of a server that is there, and fails
_FIRST_WAIT_SECONDS, _MOST_WAIT_SECONDS, _MOST_RETRY_AFTER_SECONDS = 0.5, 30.0, 600.0
# A server with much to do answers late; one that is gone does not accept the connection.
_TIMEOUT = httpx2.Timeout(300.0, connect=10.0)
_MOST_ANSWER_BYTES = 16 * 1024 * 1024


class RefusedError(Exception):
    """The server does not take this request, for sure, and would not take it a second time."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.words = words  # the server's own: they may quote what was sent, so they are for the probe alone


class OutcomeUnknownError(Exception):
    """The call broke off: it may have been answered, and billed."""


class ServerFailedError(Exception):
    """The server fails on this request again and again, and answers others: it is the request's fault, or may be."""


class _LineOfEachCall(logging.Filter):
    """Leaves out of the log what the HTTP library writes of each call: a run has one a document, or two."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is about another server, or no line of a call."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any(str(argument).startswith(self._address) for argument in arguments)


class FirstTierClient:
    """A connection to one server; used by several threads."""

    def __init__(
        self,
        asked: ModelEndpoint,
        *,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], object] | None = None,
        attempts: int = _ATTEMPTS,
    ) -> None:
        """Look for the key; nothing is sent yet.

        Raises:
            JobError: the variable that the job names is not set.
        """
        self._asked, self._attempts = asked, attempts
        self._given_up = threading.Event()
        self._sleep = sleep or self._given_up.wait
        headers = {"accept": "application/json"}
        if asked.key_env:
            headers["authorization"] = f"Bearer {_key(asked.key_env)}"
        self._quiet = _LineOfEachCall(asked.endpoint)
        logging.getLogger("httpx2").addFilter(self._quiet)
        limits = httpx2.Limits(max_connections=asked.requests_at_once, max_keepalive_connections=asked.requests_at_once)
        # A redirect would take documents, and the key, to another server.
        self._http = httpx2.Client(
            base_url=asked.endpoint,
            headers=headers,
            timeout=_TIMEOUT,
            limits=limits,
            transport=transport,
            follow_redirects=False,
        )

    def give_up(self) -> None:
        """Make no failed call again."""
        self._given_up.set()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()
        logging.getLogger("httpx2").removeFilter(self._quiet)

    def get(self, path: str) -> dict[str, Any] | None:
        """What the server says of itself; None where it says nothing of the kind."""
        try:
            return self._call("GET", path, None, is_free=True)
        except (RefusedError, ServerFailedError):
            return None

    def post(self, path: str, body: Mapping[str, Any], *, is_free: bool | None = None) -> dict[str, Any]:
        """Ask.

        Args:
            path: below the server's address.
            body: the request.
            is_free: whether the call costs nothing, however often it is made; by default, as the server is one's own.

        Raises:
            RefusedError: the server does not take it.
            OutcomeUnknownError: of a paid call, nobody knows what became of it.
            ServerFailedError: of a call that is free, the server fails on it alone.
            EngineError: the server cannot be reached, or does not let anybody in.
        """
        return self._call("POST", path, body, is_free=self._asked.where == "own" if is_free is None else is_free)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None, *, is_free: bool) -> dict[str, Any]:
        what, attempt = "", 0
        for attempt in range(self._attempts):
            wait = min(_FIRST_WAIT_SECONDS * 2**attempt, _MOST_WAIT_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311  # no secret
            try:
                response = self._http.request(method, path, json=body)
            except httpx2.HTTPError as error:
                what = type(error).__name__
                if not is_free and not isinstance(error, _NEVER_LEFT):
                    raise OutcomeUnknownError(f"the connection broke ({what})") from error
            else:
                if response.status_code not in _TROUBLE:
                    return self._content(response)
                what = f"HTTP {response.status_code}"
                if not is_free and response.status_code not in _NOT_TAKEN:
                    raise OutcomeUnknownError(f"the server failed ({what})")
                if response.status_code == 500 and attempt + 1 >= _ATTEMPTS_AT_A_FAULT:
                    raise ServerFailedError(f"{what}, {attempt + 1} times")
                asked_to_wait = _retry_after(response)
                wait = wait if asked_to_wait is None else min(asked_to_wait, _MOST_RETRY_AFTER_SECONDS)
            if attempt + 1 < self._attempts and not self._given_up.is_set():
                self._sleep(wait)
            if self._given_up.is_set():
                break
        raise EngineError(
            f"the first tier at {self._asked.endpoint} does not answer ({what}; asked {attempt + 1} times); see "
            "whether it is up and has room, or mend model.endpoint. What is committed is kept: the same command goes on"
        )

    def _content(self, response: httpx2.Response) -> dict[str, Any]:
        status = response.status_code
        if status in (401, 402) or (status == 403 and response.request.method == "POST"):
            key = f"the key in {self._asked.key_env}" if self._asked.key_env else "a request without a key (key_env)"
            raise EngineError(
                f"the first tier at {self._asked.endpoint} refuses {key}: HTTP {status}; mend the key, its rights or "
                "the account's credit, and run the same command again"
            )
        if response.is_redirect:
            raise EngineError(
                f"the first tier at {self._asked.endpoint} sends requests on to another address (HTTP {status}), which "
                "is not followed; give model.endpoint the address that answers"
            )
        if not response.is_success:
            raise RefusedError(status, _words(response))
        if len(response.content) > _MOST_ANSWER_BYTES:
            raise RefusedError(status, f"an answer of {len(response.content):,} bytes")
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise RefusedError(status, "the answer is no JSON object")
        return content


def _key(name: str) -> str:
    secret = secret_named(name)
    if secret is None or not secret.get_secret_value().strip():
        raise JobError([f"model.key_env: {name} is not set in this environment; set it to the server's key"])
    key = secret.get_secret_value().strip()
    if not key.isascii() or not key.isprintable():
        raise JobError([f"model.key_env: what {name} holds cannot be sent as a key; set it anew"])
    return key


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds that the server asks for: as a number, or as a date."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _words(response: httpx2.Response) -> str:
    """What the server says of an error, in one short line."""
    try:
        content = json.loads(response.content)
    except ValueError:
        content = response.text
    for name in ("error", "message", "detail"):
        if isinstance(content, dict) and name in content:
            content = content[name]
    line = " ".join(str(content).split())
    return "".join(char for char in line if char.isprintable())[:300]
