"""The way to S3: one client per bucket, and its errors in words that say what to do.

Credentials, profile and region come from boto3's chain (environment, shared files, container and machine roles), so
that this client and boto3 are never two different users. Endpoint and path style come from the settings, and so does
AWS_REGION, which boto3 alone of all clients does not read.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from pipelines.errors import StoreError
from pipelines.settings import settings

if TYPE_CHECKING:
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import ClientConfig, RetryConfig, S3Config

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,}")
_ENDPOINT = re.compile(r"https?://[^/]")
DEFAULT_REGION = "us-east-1"  # where nobody names one, as the servers that only speak S3 do not care
# botocore renews credentials ten minutes before they end; asked any less often, it could be asked too late.
_CREDENTIALS_TTL = timedelta(minutes=10)
_RETRIES: RetryConfig = {
    "max_retries": 1_000,  # the time is what limits them
    "retry_timeout": timedelta(minutes=1),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
# The whole request: parts and read requests are some megabytes, so that a slow line has time enough.
_REQUEST_TIMEOUT = timedelta(minutes=2)
_NO_CREDENTIALS = (
    "no AWS credentials found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or give this machine a role"
)
_ACTIONS = {"read": "s3:GetObject", "write": "s3:PutObject", "delete": "s3:DeleteObject", "list": "s3:ListBucket"}
_EXPIRED = "the AWS session token has expired; renew it and run the same command again: nothing committed is lost"
_REASONS = {
    "NoSuchBucket": "there is no bucket '{bucket}'; create it or mend its name",
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": "the AWS session token is not valid; check AWS_SESSION_TOKEN or renew the profile's",
    "SignatureDoesNotMatch": "the AWS secret key does not fit the access key; check AWS_SECRET_ACCESS_KEY, AWS_PROFILE",
    "InvalidAccessKeyId": "the AWS access key is not known there; check AWS_ACCESS_KEY_ID, AWS_PROFILE, the endpoint",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "EntityTooLarge": "the object is too large for one request; this is a defect, please report it",
}
_OTHER_REGION = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})


@lru_cache(maxsize=64)
def open_bucket(bucket: str, prefix: str = "") -> S3Store:
    """The objects of a bucket, or those below a prefix of it. Nothing is asked of S3 yet.

    Raises:
        StoreError: there are no credentials, or no such bucket or endpoint can be.
    """
    endpoint = settings().s3_endpoint
    if not _BUCKET.fullmatch(bucket):
        raise StoreError(f"cannot open the bucket '{bucket}': no bucket can have this name; write s3://bucket/prefix")
    if endpoint is not None and not _ENDPOINT.match(endpoint):  # obstore panics on these
        raise StoreError(f"AWS_ENDPOINT_URL is '{endpoint}'; write http://host:port or https://host, or unset it")
    is_path_style = uses_path_style(bucket)
    credentials = _credentials(bucket)
    config: S3Config = {
        "region": settings().aws_region or credentials.config.get("region", DEFAULT_REGION),
        "virtual_hosted_style_request": not is_path_style,
    }
    if endpoint is not None:
        config["endpoint"] = endpoint if is_path_style else _with_bucket(endpoint, bucket)
    options: ClientConfig = {"timeout": _REQUEST_TIMEOUT, "allow_http": (endpoint or "").startswith("http://")}
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options=options,
        retry_config=_RETRIES,
        credential_provider=credentials,
    )


def uses_path_style(bucket: str) -> bool:
    """Whether a bucket is named in the path and not in the host."""
    asked = settings().s3_path_style
    if asked is None:  # a name with a dot does not fit the certificate of a host name made of it
        return settings().s3_endpoint is not None or "." in bucket
    return asked


def _credentials(bucket: str) -> Boto3CredentialProvider:
    from obstore.auth.boto3 import Boto3CredentialProvider  # imports boto3, which local runs need not wait for

    try:
        return Boto3CredentialProvider(ttl=_CREDENTIALS_TTL)
    except ValueError as error:
        raise StoreError(f"cannot open the bucket '{bucket}': {_NO_CREDENTIALS}") from error
    except Exception as error:  # botocore's own errors have no other class that may be named in this room
        raise StoreError(f"cannot open the bucket '{bucket}': {error}; mend the AWS configuration") from error


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI. By hand: parsed as a URI, a "?" or "%" in a key would change its meaning."""
    bucket, _, key = uri.removeprefix("s3://").strip("/").partition("/")
    return bucket, key


def is_missing_bucket(error: Exception) -> bool:
    """Whether "not found" means the bucket and not the object."""
    return _code(error) == "NoSuchBucket"


def is_access_denied(error: Exception) -> bool:
    """Whether a permission is missing, as against credentials that are wrong or have expired."""
    return _code(error) == "AccessDenied"


def repeating_creates() -> Retrying:
    """For creates, which obstore gives up at once when a connection is reset: it cannot know whether they were done.

    Where what is there is compared afterwards, they may be repeated like anything else, and for as long.
    """
    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, BaseError) and is_outage(error)),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=stop_after_delay(_RETRIES["retry_timeout"]),
        reraise=True,
    )


def is_refused(error: Exception) -> bool:
    """Whether it was refused without a reason, as a HEAD is: for a permission, a token that has expired, the region."""
    return _status(error) in (400, 403) and _code(error) is None


def is_outage(error: Exception) -> bool:
    """Whether S3 cannot be reached or cannot keep up, as against: it refuses."""
    status = _status(error)
    return "HTTP error" in str(error) if status is None else status >= 500 or status == 429


def explain(error: Exception, action: str, bucket: str, key: str) -> str:
    """What went wrong and the next move, without the server's request ids, addresses and signatures.

    Args:
        error: as obstore raised it.
        action: "read", "write" or "list".
        bucket: where.
        key: what; for "list", the prefix.
    """
    text = str(error)
    code, status = _code(error), _status(error)
    if code in _REASONS:
        return _REASONS[code].format(bucket=bucket)
    if code in _OTHER_REGION or "Received redirect" in text:  # obstore does not follow it, nor say where it leads
        return _other_region(text, bucket)
    if code == "AccessDenied" or status in (401, 403):
        return _denied(text, action, bucket, key, has_code=code is not None)
    if is_outage(error) and status is not None:
        return f"S3 answered {status} for a minute; wait and run the same command again: nothing committed is lost"
    if is_outage(error):
        where = settings().s3_endpoint or "S3"
        return f"cannot reach {where}; check the network and AWS_ENDPOINT_URL, then run the same command again"
    return (text.strip() or type(error).__name__).splitlines()[0]


def _denied(text: str, action: str, bucket: str, key: str, *, has_code: bool) -> str:
    named = re.search(r"not authorized to perform: ([\w:]+)", text)
    needed = named[1] if named else _ACTIONS[action]
    where = f"s3://{bucket}/{key}".rstrip("/") if needed != _ACTIONS["list"] else f"s3://{bucket}"
    # A HEAD is refused without a reason; and without s3:ListBucket, what is not there is refused as well.
    hint = "" if has_code else f" and s3:ListBucket on s3://{bucket}, and check the AWS keys"
    return f"access denied; allow {needed} on {where}{hint}"


def _other_region(text: str, bucket: str) -> str:
    found = re.search(r"<Region>([\w-]+)</Region>", text)
    if found is None:
        return f"the bucket '{bucket}' is in another region; set AWS_REGION to it"
    return f"the bucket '{bucket}' is in {found[1]}; set AWS_REGION={found[1]}"


def _code(error: Exception) -> str | None:
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else None


def _status(error: Exception) -> int | None:
    found = re.search(r"non-2xx status code: (\d{3})", str(error))
    return int(found[1]) if found else None


def _with_bucket(endpoint: str, bucket: str) -> str:
    parts = urlsplit(endpoint)
    return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()
