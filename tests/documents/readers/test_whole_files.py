"""Files that are one document: text, HTML and mail."""

from pathlib import Path

import pytest

from pipelines.documents.readers.html_text import html_to_text
from pipelines.documents.records import Document
from tests.documents.readers.reading import Read, outcomes


@pytest.mark.parametrize("name", ["t.txt", "t.md", "T.TXT"])
def test_text_files_are_taken_as_they_are(read: Read, tmp_path: Path, name: str) -> None:
    assert read(name, "\ufeff# Héllo\r\n\r\n  x\n") == [Document(name, str(tmp_path / name), 0, "# Héllo\n\n  x\n")]


def test_html_is_what_a_reader_of_the_page_sees(read: Read) -> None:
    page = """<!doctype html><html><head><title>The  title</title><style>p {color: red}</style>
    <script>alert("x<y")</script></head><body><h1>Head</h1><!-- note --><p>One <b>bold</b>
    word&nbsp;&amp; more<br>next</p>tail<ul><li>a<li>b</ul><template><p>no</p></template>
    <table><tr><td>1</td><td>2</td></tr></table></body></html>"""
    expected = "The title\nHead\nOne bold word & more\nnext\ntail\na\nb\n1\n2"
    assert outcomes(read("t.html", page)) == outcomes(read("t.htm", page)) == [expected]


def test_html_without_closed_head_keeps_its_body() -> None:
    assert html_to_text("<head><title>T</title><p>hello") == "T\nhello"


@pytest.mark.parametrize("text", ["/etc/passwd", "https://example.com/a", "<?xml version='1.0'?><a>b</a>"])
def test_html_that_looks_like_something_else_gives_no_warning(text: str) -> None:
    assert html_to_text(text)


def test_deeply_nested_and_very_flat_pages_take_linear_time() -> None:
    assert html_to_text("<div>" * 20_000 + "x") == "x"
    assert html_to_text("<b>x<br>" * 20_000).count("\n") == 19_999


def test_a_page_of_tags_that_never_end_is_text() -> None:
    assert html_to_text("<p>one</p>" + "<a " * 50_000).split() == ["one", *["<a"] * 50_000]


def mail(*parts: str, subject: str = "Subject: Caf=?utf-8?q?=C3=A9?=\n") -> str:
    head = f"From: a@example.com\n{subject}MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n"
    return head + "".join(f"--B\n{part}\n" for part in parts) + "--B--\n"


def test_mail_is_its_subject_and_plain_body(read: Read) -> None:
    content = mail(
        "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nna=EFve",
        "Content-Type: text/plain\nContent-Disposition: attachment\n\nattached",
        subject="Subject: =?utf-8?q?Caf=C3=A9?=\n  folded\n",
    )
    assert outcomes(read("t.eml", content)) == ["Subject: Café folded\n\nnaïve"]


def test_mail_falls_back_to_html(read: Read) -> None:
    content = "Subject: s\nContent-Type: text/html\n\n<p>one<p>two"
    assert outcomes(read("t.eml", content)) == ["Subject: s\n\none\ntwo"]


def test_mail_without_charset_is_read_as_utf8_and_without_subject_as_body(read: Read) -> None:
    assert outcomes(read("t.eml", "From: a@example.com\r\n\r\nGrüße\r\nA\r\n")) == ["Grüße\nA"]
