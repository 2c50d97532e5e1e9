"""Places in a job: paths and URIs that can be opened. Whether something is there is for others to look."""

from __future__ import annotations

import unicodedata
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

_MAX_PATH_BYTES, _MAX_NAME_BYTES = 4_000, 255


def check_place(place: str) -> str:
    """The place, if there can be one like it.

    Raises:
        ValueError: no file system and no store has such a name.
    """
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in place):
        raise ValueError("control characters and half characters are not allowed")
    try:
        scheme = urlsplit(place).scheme
    except ValueError as error:  # e.g. http://[::1
        raise ValueError(f"no place can be written like this ({error}); give a folder or s3://bucket/prefix") from None
    path = place.encode()
    if scheme != "s3" and (len(path) > _MAX_PATH_BYTES or max(map(len, path.split(b"/"))) > _MAX_NAME_BYTES):
        raise ValueError(
            f"longer than a path ({_MAX_PATH_BYTES:,} bytes) or a name in it ({_MAX_NAME_BYTES}) can be; mend it"
        )
    return place


def _check_output(output: str) -> str:
    scheme = urlsplit(output).scheme
    if scheme not in ("", "file", "s3"):
        raise ValueError(f"'{scheme}:' is a place of an unknown kind; give a folder or s3://bucket/prefix")
    return output


Place = Annotated[str, AfterValidator(check_place)]
OutputPlace = Annotated[Place, AfterValidator(_check_output)]


def refuse_unprintable(text: str) -> None:
    """Raise ValueError where a text holds what no prompt may."""
    # Private-use characters mark the document's place in the prompt template; control characters have no business here.
    if any(unicodedata.category(char) in ("Cc", "Co", "Cs") and char not in "\n\t" for char in text):
        raise ValueError("control or private-use characters are not allowed")
