"""The first tier of a job where it is a server of somebody's, reached over HTTP, and no engine of the run's own."""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipelines.job.job_places import refuse_unprintable
from pipelines.job.sections import Section

Api = Literal["systemone", "openai", "ollama"]

_MOST_USD_PER_MILLION = 1_000_000
_MOST_AT_ONCE = 1_024
_KEY_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}(KEY|TOKEN)")
# Of other accounts: a job file may come from anyone, and its endpoint is given what the variable holds.
_OTHER_KEYS = ("ANTHROPIC_", "AWS_", "AZURE_", "GITHUB_", "GH_", "GITLAB_", "GOOGLE_", "HF_", "HUGGING", "PREFECT_")


class TokenPrice(Section):
    """Of the first tier, in US dollars per million tokens, as in `pipelines/costs/prices.toml`."""

    input: Decimal = Field(ge=0, le=_MOST_USD_PER_MILLION, description="a million tokens read")
    output: Decimal = Field(Decimal(0), ge=0, le=_MOST_USD_PER_MILLION, description="a million tokens written")
    cache_read: Decimal | None = Field(
        None,
        ge=0,
        le=_MOST_USD_PER_MILLION,
        description="a million tokens read from the server's cache, where it tells how many; default: as `input`",
    )


def _parts(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  # raises for what is no port
    except ValueError as error:
        raise ValueError(f"no address can be written like this ({error}); give http://host:port") from None
    return parts


def _check_address(address: str) -> str:
    refuse_unprintable(address)
    parts = _parts(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address of a server is expected: http://host:port, or https://host/path")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("give the address alone: a key stands in an environment variable that key_env names")
    return address.rstrip("/").removesuffix("/v1")


class ModelEndpoint(Section):
    """A first tier over HTTP: a server that tells how likely each label is. No engine is started."""

    endpoint: Annotated[str, AfterValidator(_check_address)] = Field(
        description="address of the server, e.g. http://localhost:8000; a `/v1` at its end may be left out"
    )
    name: str = Field(min_length=1, max_length=500, description="the model's name on that server")
    api: Api | None = Field(
        None,
        description="how it is asked: `systemone` (/v1/systemone), `openai` (/v1/chat/completions with "
        "log-probabilities) or `ollama` (/api/chat); default: the first of these, in this order, that gives "
        "probabilities",
    )
    where: Literal["own", "hosted"] = Field(
        description="`own`: the server is yours, so calls are repeated as needed; `hosted`: others run it, so what "
        "policy.never_escalate holds back is not sent to it, and no call that may have been paid is made again"
    )
    price: TokenPrice | None = Field(None, description="without it, what the first tier costs is unknown")
    key_env: str | None = Field(
        None,
        description="name of the environment variable that holds the server's key; never the key itself",
    )
    requests_at_once: int = Field(32, ge=1, le=_MOST_AT_ONCE, description="the most requests under way at a time")

    @field_validator("key_env")
    @classmethod
    def _is_its_own_key(cls, name: str | None) -> str | None:
        if name is not None and not _KEY_NAME.fullmatch(name):  # it may be the key: it is not repeated
            raise ValueError("the name of an environment variable is expected, in capitals, ending in KEY or TOKEN")
        if name is not None and name.startswith(_OTHER_KEYS):
            raise ValueError(f"{name} opens another account than this server's; name a variable for this key alone")
        return name

    @model_validator(mode="after")
    def _keeps_what_it_sends(self) -> ModelEndpoint:
        refuse_unprintable(self.name)
        parts = _parts(self.endpoint)
        if self.where == "hosted" and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            raise ValueError("endpoint: a hosted server is given documents and a key: use https://")
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
