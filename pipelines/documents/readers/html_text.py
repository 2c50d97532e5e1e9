"""HTML pages to the text that a reader of them would see, and what a page says of its charset."""

from __future__ import annotations

import io
import re
import warnings

from bs4 import BeautifulSoup, Tag
from bs4.element import PreformattedString
from bs4.exceptions import ParserRejectedMarkup

from pipelines.documents.readers.lines import Unreadable

_DROPPED_TAGS = frozenset({"script", "style", "template"})
_BLOCK_TAG = re.compile(
    "address|article|aside|blockquote|body|br|caption|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer"
    "|form|h[1-6]|header|hr|html|legend|li|main|nav|ol|option|p|pre|section|summary|table|td|th|title|tr|ul"
)
# Where browsers look for it. The first pattern also finds http-equiv's "text/html; charset=...".
_CHARSET_WITHIN_BYTES = 4096
_META_CHARSET = re.compile(rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([\w.:+-]+)", re.I)
_XML_ENCODING = re.compile(rb"\s*<\?xml\s[^>]*?encoding\s*=\s*[\"']([\w.:+-]+)", re.I)


def html_charset(data: bytes) -> str | None:
    """The charset that a page declares; a page in which that can be read is not UTF-16, whatever it says."""
    head = data[:_CHARSET_WITHIN_BYTES]
    found = _XML_ENCODING.match(head) or _META_CHARSET.search(re.sub(rb"<!--.*?-->", b"", head, flags=re.DOTALL))
    name = found[1].decode("ascii", "replace") if found else None
    return "utf-8" if name and name.lower().startswith(("utf-16", "utf-32", "ucs-2")) else name


def html_to_text(markup: str) -> str:
    """Visible text of a page: one line per block element, white space within it collapsed.

    One pass in document order: asking each string for its ancestors, or inserting line breaks into the tree,
    takes quadratic time on the deeply nested or very flat pages that turn up in the wild.
    """
    pieces: list[str] = []
    block_of: dict[int, Tag | None] = {}
    current: Tag | None = None
    for element in _parse_html(markup).descendants:
        parent = element.parent
        block = block_of.get(id(parent), parent)
        if isinstance(element, Tag):
            is_dropped = block is None or element.name in _DROPPED_TAGS
            is_block = _BLOCK_TAG.fullmatch(element.name) is not None
            block_of[id(element)] = None if is_dropped else element if is_block else block
            if is_block:
                pieces.append("\n")
        elif block is not None and not isinstance(element, PreformattedString):
            if block is not current:
                pieces.append("\n")
                current = block
            pieces.append(re.sub(r"\s+", " ", str(element)))
    lines = (" ".join(line.split()) for line in "".join(pieces).split("\n"))
    return "\n".join(line for line in lines if line)


def _parse_html(markup: str) -> BeautifulSoup:
    # No tag starts after the last ">". The parser would find that out anew for each "<": 60 KB took it half a minute.
    tags_end = markup.rfind(">") + 1
    markup = markup[:tags_end] + markup[tags_end:].replace("<", "&lt;")
    with warnings.catch_warnings():
        # Text that looks like a path, a URL or XML is still what we were asked to read.
        warnings.simplefilter("ignore")
        try:
            return BeautifulSoup(io.StringIO(markup), "html.parser")
        except (ParserRejectedMarkup, RecursionError) as error:
            raise Unreadable("HTML is too broken to read; mend it or send it as .txt") from error
