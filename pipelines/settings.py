"""The only module that reads the environment.

Everything about *where* the pipeline runs comes from here; everything about *what* it does comes from the job.
Secrets stay `SecretStr`: printing the settings never shows a key.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_CLAUDE_KEY, _TRUST = "ANTHROPIC_API_KEY", "SLUICE_TRUST_REMOTE_CODE"
# What opens an account, by how it begins; engines run what a model's makers wrote, and need none of it.
_NOT_FOR_ENGINES = (
    _CLAUDE_KEY,
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_AWS_API_KEY",
    "ANTHROPIC_FOUNDRY_API_KEY",
    "ANTHROPIC_IDENTITY_TOKEN",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_CONFIG_DIR",
    "ANTHROPIC_WEBHOOK_SIGNING_KEY",
    "ANTHROPIC_ENVIRONMENT_KEY",
    "ANTHROPIC_WORK_SECRET",
    "AWS_BEARER_TOKEN_BEDROCK",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_DATABASE_",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_SERVER_DATABASE_",
)
_AWS_CREDENTIALS = (  # for engines that read and write S3, and no others
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
)
# Set where machines are given keys, whether or not this process has them.
_USUAL_KEYS = (_CLAUDE_KEY, "ANTHROPIC_AUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "PREFECT_API_KEY")

# Keys whose variables jobs have named, once they are taken out of the environment.
_withheld: dict[str, SecretStr] = {}


class Settings(BaseSettings):
    """Environment variables, with their defaults. `SLUICE_` is the prefix unless a name is given."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="ignore")

    state_dir: Path = Field(
        Path.home() / ".local" / "state" / "sluice", description="logs of commands, state of the local simulation"
    )
    device: Literal["gpu", "cpu"] | None = Field(
        None, description="what engines run on; needed where an autoscaler brings GPUs only once they are asked for"
    )
    ray_address: str | None = Field(
        None, validation_alias="RAY_ADDRESS", description="a Ray cluster to join; without one, Ray starts here"
    )
    prefect_api_url: str | None = Field(
        None, validation_alias="PREFECT_API_URL", description="a Prefect server; without one, a temporary one starts"
    )
    anthropic_api_key: SecretStr | None = Field(None, validation_alias="ANTHROPIC_API_KEY")
    anthropic_base_url: str | None = Field(None, validation_alias="ANTHROPIC_BASE_URL")
    bedrock_region: str | None = None
    bedrock_role_arn: str | None = Field(None, description="the role with which Bedrock reads and writes the prefix")
    bedrock_s3_prefix: str | None = Field(None, description="s3://bucket/folder for Bedrock's input and output files")
    bedrock_model_ids: dict[str, str] = Field(
        default_factory=dict, description="JSON: the job's Claude models to Bedrock model ids or inference profiles"
    )
    bedrock_minimum_records: int = Field(100, ge=1, description="quota: fewest records of a batch inference job")
    aws_region: str | None = Field(None, validation_alias="AWS_REGION", description="unset: boto3's chain says")
    s3_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        description="an S3-compatible server; without one, AWS. Credentials and region: boto3's usual chain",
    )
    s3_path_style: bool | None = Field(
        None, description="bucket in the path, not in the host name; unset: with an endpoint of one's own"
    )
    prices: Path | None = Field(
        None, description="TOML file of your own prices; its rows go before those of pipelines/costs/prices.toml"
    )
    poll_seconds: float = Field(10, gt=0, description="how often open message batches are asked about")
    metrics_address: str | None = Field(
        None,
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$",
        description="host:port at which a run's process serves Prometheus metrics, such as 127.0.0.1:9464; unset: none",
    )
    trust_remote_code: bool = Field(
        False,
        description="let jobs have the engine run code of a model's own; for workers, who have no --option for it",
    )


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()


def secret_named(name: str) -> SecretStr | None:
    """A key whose variable the job names: that of a first tier over HTTP."""
    value = os.environ.get(name)
    return _withheld.get(name) if value is None else SecretStr(value)


def withhold_named(name: str) -> None:
    """Take it out of the environment as `withhold_claude_key` does Claude's."""
    if (secret := secret_named(name)) is not None:
        _withheld[name] = secret
        os.environ.pop(name, None)


def withhold_claude_key() -> None:
    """Take Claude's key out of the environment once it is read: Ray, Prefect's server and engines do not inherit it."""
    settings()
    os.environ.pop(_CLAUDE_KEY, None)


def withhold_aws_credentials() -> None:
    """The same with AWS's, where all that this process does is one run that needs nothing of AWS."""
    for name in [name for name in os.environ if name.startswith(_AWS_CREDENTIALS)]:
        del os.environ[name]


def environment_with_claude_key() -> dict[str, str]:
    """For a child that is to do what this process does."""
    key = settings().anthropic_api_key
    named = {name: secret.get_secret_value() for name, secret in _withheld.items()}
    return named | dict(os.environ) | ({_CLAUDE_KEY: key.get_secret_value()} if key else {})


def environment_without_keys() -> dict[str, str]:
    """For a child that has no business with any account."""
    withheld = keys_not_for_engines(places=())
    return {name: value for name, value in os.environ.items() if name not in withheld}


def keys_not_for_engines(places: Iterable[str]) -> set[str]:
    """Names in this environment that give access to what an engine does not need.

    Args:
        places: what it reads and writes; on S3, it keeps AWS's credentials.
    """
    needs_aws = any(place.startswith("s3://") for place in places)
    prefixes = _NOT_FOR_ENGINES if needs_aws else _NOT_FOR_ENGINES + _AWS_CREDENTIALS
    return {name for name in os.environ if name.startswith(prefixes)}


def usual_keys() -> set[str]:
    """Names under which other machines may have been given keys that no engine needs."""
    return set(_USUAL_KEYS)


def withhold_keys_from_engine(places: Iterable[str]) -> None:
    """In an engine's process: forget them before anything of the model is loaded."""
    for name in keys_not_for_engines(places):
        del os.environ[name]


def trust_remote_code() -> None:
    """Note the word of the machine's owner, for this process and its children."""
    os.environ.update(environment_with_claude_key())  # to be read once more
    os.environ[_TRUST] = "1"
    settings.cache_clear()
