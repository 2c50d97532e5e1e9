"""The body of a create call, read as a stream: a 256 MB body never lies in memory as a whole.

Comes in: a file of JSON. Goes out: one (custom_id, params) pair after the other. Only what the real service
checks at once is checked here; everything inside ``params`` waits until the request is processed.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from infra.local.message_batches.wire import bad_request

MAX_REQUESTS = 100_000
_WINDOW_BYTES = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MALFORMED = "The request body is not valid JSON"


def read_requests(body: IO[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the requests of a create body; uniqueness of the ids is left to the store.

    Raises:
        ApiError: The body, or a request's frame, is not acceptable.
    """
    count = 0
    seen_list = False
    reader = _JsonReader(body)
    for name in reader.members():
        if name != "requests":
            reader.value()
            continue
        if reader.peek() != "[":
            raise bad_request("requests: Input should be a valid list")
        seen_list = True
        for item in reader.items():
            yield _checked(count, item)
            count += 1
            if count > MAX_REQUESTS:
                raise bad_request(f"requests: List should have at most {MAX_REQUESTS} items after validation")
    if not seen_list:
        raise bad_request("requests: Field required")
    if count == 0:
        raise bad_request("requests: List should have at least 1 item after validation, not 0")


def _checked(index: int, item: object) -> tuple[str, dict[str, Any]]:
    where = f"requests.{index}"
    if not isinstance(item, dict):
        raise bad_request(f"{where}: Input should be an object")
    for name in ("custom_id", "params"):
        if name not in item:
            raise bad_request(f"{where}.{name}: Field required")
    custom_id, params = item["custom_id"], item["params"]
    if not isinstance(custom_id, str):
        raise bad_request(f"{where}.custom_id: Input should be a valid string")
    if not _CUSTOM_ID.fullmatch(custom_id):
        raise bad_request(f"{where}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    if not isinstance(params, dict):
        raise bad_request(f"{where}.params: Input should be an object")
    return custom_id, params


class _JsonReader:
    """Walks the top of a JSON document, decoding one value at a time out of a window that grows when needed."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text = ""
        self._at = 0
        self._is_at_end = False

    def members(self) -> Iterator[str]:
        """Yield the member names of the document; the caller reads each value before going on."""
        self._expect("{")
        for _ in self._elements("}"):
            name = self.value()
            if not isinstance(name, str):
                raise bad_request(_MALFORMED)
            self._expect(":")
            yield name
        if self.peek():
            raise bad_request(_MALFORMED)

    def items(self) -> Iterator[Any]:
        """Yield the values of the list that comes next."""
        self._expect("[")
        for _ in self._elements("]"):
            yield self.value()

    def peek(self) -> str:
        """The next character that is not space; empty at the end of the document."""
        while True:
            self._at = _end_of_space(self._text, self._at)
            if self._at < len(self._text) or not self._grow():
                return self._text[self._at : self._at + 1]

    def value(self) -> Any:
        """The next value, whatever its size."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if isinstance(error, ValueError) and self._grow():
                    continue
                raise bad_request(_MALFORMED) from None
            if end == len(self._text) and self._grow():
                continue  # a number at the edge of the window may go on beyond it
            self._at = end
            return value

    def _elements(self, closing: str) -> Iterator[None]:
        """Step over the commas of a list or an object, up to and including its end."""
        if self.peek() != closing:
            yield
            while self.peek() == ",":
                self._expect(",")
                yield
        self._expect(closing)

    def _expect(self, character: str) -> None:
        if self.peek() != character:
            raise bad_request(_MALFORMED)
        self._at += 1

    def _grow(self) -> bool:
        """Drop what was read and read on, at least doubling what is held; False at the end of the body."""
        if self._is_at_end:
            return False
        rest = self._text[self._at :]
        data = self._source.read(max(_WINDOW_BYTES, len(rest)))
        self._is_at_end = not data
        try:
            self._text = rest + self._utf8.decode(data, final=not data)
        except UnicodeDecodeError:
            raise bad_request("The request body is not valid UTF-8") from None
        self._at = 0
        return True


def _end_of_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start
