"""The only module that reads the environment.

Everything about *where* the pipeline runs comes from here; everything about *what* it does comes from the job.
Secrets stay `SecretStr`: printing the settings never shows a key.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    poll_seconds: float = Field(10, gt=0, description="how often open message batches are asked about")


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
