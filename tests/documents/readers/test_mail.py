"""E-mails: every text that is shown, forwarded mails, charsets, and mails made to take long."""

import time

import pytest

from pipelines.documents.readers.mail_reader import mail_to_text
from tests.documents.readers.reading import Read, outcomes

PLAIN = "Content-Type: text/plain; charset=utf-8\n\n"
HTML = "Content-Type: text/html; charset=utf-8\n\n"
PICTURE = "Content-Type: image/png; name=p.png\nContent-Disposition: inline\nContent-Transfer-Encoding: base64\n\niVBO"


def parts(kind: str, *each: str, boundary: str = "B") -> str:
    inside = "".join(f"--{boundary}\n{part}\n" for part in each)
    return f"Content-Type: multipart/{kind}; boundary={boundary}\n\n{inside}--{boundary}--\nepilogue\n"


def text_of(mail: str | bytes) -> str:
    return mail_to_text(mail if isinstance(mail, bytes) else mail.encode()).text


def test_all_inline_texts_are_the_body_in_their_order(read: Read) -> None:
    mail = "Subject: parcel\n" + parts("mixed", PLAIN + "See the picture:", PICTURE, PLAIN + "It is broken.")
    for content in (mail, mail.replace("\n", "\r\n"), mail.replace("\n", "\r")):
        assert outcomes(read("t.eml", content)) == ["Subject: parcel\n\nSee the picture:\n\nIt is broken."]


@pytest.mark.parametrize(
    ("mail", "text"),
    [
        (parts("mixed", HTML + "<p>one", PICTURE, HTML + "<p>two"), "one\n\ntwo"),
        (parts("alternative", PLAIN + "plain", HTML + "<p>html"), "plain"),
        (parts("alternative", HTML + "<p>html", PLAIN + "plain"), "plain"),
        (parts("alternative", PLAIN + " \n", HTML + "<p>html"), "html"),
        (parts("related", HTML + "<p>html", PICTURE), "html"),
        (parts("alternative", PLAIN + "plain", parts("related", HTML + "<p>h", PICTURE, boundary="C")), "plain"),
        (parts("mixed", parts("alternative", PLAIN + "a", HTML + "<p>b", boundary="C"), PLAIN + "c"), "a\n\nc"),
        (parts("alternative", parts("mixed", HTML + "<p>a", PICTURE, HTML + "<p>b", boundary="BB")), "a\n\nb"),
        (parts("signed", PLAIN + "signed", "Content-Type: application/pgp-signature\n\nxyz"), "signed"),
        (parts("mixed", "\nno header"), "no header"),
        (parts("mixed", PLAIN + "a", "Content-Disposition: inline; filename=n.txt\n" + PLAIN + "note"), "a\n\nnote"),
        (parts("mixed", PLAIN + "a", "Content-Disposition: attachment\n" + PLAIN + "attached"), "a"),
        (parts("mixed", PLAIN + "a", "Content-Disposition: ATTACHMENT; filename=x\n" + PLAIN + "attached"), "a"),
        (parts("alternative", PLAIN + "a", "Content-Type: text/calendar\n\nBEGIN:VCALENDAR"), "a"),
        (parts("mixed", PLAIN + "a")[:-16], "a"),  # cut off before its end
        (parts("mixed", PLAIN + "a").replace("boundary=B", ""), "--B\n" + PLAIN + "a\n--B--\nepilogue"),
        (parts("mixed", PLAIN + "a", boundary="=_(?:x)+*"), "a"),
        ("just text\nwithout headers", "just text\nwithout headers"),
    ],
)
def test_the_text_of_a_mail_is_what_a_mailer_shows(mail: str, text: str) -> None:
    assert text_of(mail) == text


def test_a_forwarded_mail_is_part_of_the_mail(read: Read) -> None:
    inner = "From: b@example.org\nSubject: broken\n" + PLAIN + "It is broken."
    for disposition in ("", "Content-Disposition: attachment\n"):
        forwarded = f"Content-Type: message/rfc822\n{disposition}\n{inner}"
        alone = "Subject: Fwd\n" + parts("mixed", forwarded)
        assert outcomes(read("t.eml", alone)) == ["Subject: Fwd\n\nSubject: broken\n\nIt is broken."]
        under = "Subject: Fwd\n" + parts("mixed", PLAIN + "See below.", forwarded)
        assert outcomes(read("t.eml", under)) == ["Subject: Fwd\n\nSee below.\n\nSubject: broken\n\nIt is broken."]
    assert text_of(parts("digest", "\n" + inner, "\n" + inner)).count("It is broken.") == 2


def test_a_body_is_read_in_the_charset_that_it_means() -> None:
    head = b"Content-Transfer-Encoding: 8bit\nContent-Type: text/plain; charset="
    assert text_of(head + b'"gb2312"\n\n' + "朱镕基路 發票".encode("gbk")) == "朱镕基路 發票"
    assert text_of(head + b"Shift_JIS\n\n" + "①髙".encode("cp932")) == "①髙"
    assert text_of(head + b'"ISO-2022-JP"\n\n\x1b$B-!\x1b(B invoice') == "① invoice"
    assert text_of(head + b"iso-8859-1\n\n" + "5 €".encode("cp1252")) == "5 €"
    assert text_of(b"Content-Type: text/html\n\n<meta charset=koi8-u><p>" + "їж".encode("koi8-u")) == "їж"


def test_a_subject_is_read_in_the_charsets_of_its_words() -> None:
    assert text_of("Subject: =?utf-8?B?5pel5pw=?= =?utf-8?B?rOiqng==?=\n\nx") == "Subject: 日本語\n\nx"
    assert text_of("Subject: =?shift_jis?B?h0A=?= and\n =?klingon?Q?more?=\n\nx") == "Subject: ① and more\n\nx"
    assert text_of("Subject: =?utf-8?B?a?= broken\n\nx").endswith("\n\nx")


def test_a_bad_byte_in_a_mail_is_told() -> None:
    decoded = mail_to_text(parts("mixed", PLAIN + "caf@ terrace", PLAIN + "fine").encode().replace(b"@", b"\xe9"))
    assert decoded.text == "caf\ufffd terrace\n\nfine"
    assert decoded.note == "not UTF-8 at byte 3 of the mail body: read as U+FFFD"


def test_a_long_subject_is_cut_and_told() -> None:
    decoded = mail_to_text(b"Subject: " + b"word " * 1_000 + b"\n\nx")
    assert decoded.text.endswith("word\n\nx") and len(decoded.text) < 2_100
    assert decoded.note == "cut: the subject is longer than 2,000 characters"


SIZE = 300_000


def full_of(text: str) -> str:
    return text * (SIZE // len(text))


@pytest.mark.parametrize(
    "mail",
    [
        pytest.param("Subject: " + full_of("=?utf-8?q?a?= ") + "\n\nx", id="encoded words"),
        pytest.param("Subject: " + full_of('"\\') + "\n\nx", id="quotes in the subject"),
        pytest.param("Subject:" + full_of("\n a") + "\n\nx", id="folded subject"),
        pytest.param("To: " + full_of("(") + "\n\nx", id="comments"),
        pytest.param("To: " + full_of("a@b, ") + "\n\nx", id="addresses"),
        pytest.param("Content-Type: text/plain; " + full_of('a="b;\\"";') + "\n\nx", id="parameters"),
        pytest.param(
            "Content-Type: text/plain; " + "".join(f"a*{index}*=x;" for index in range(30_000)) + "\n\nx",
            id="continued parameters",
        ),
        pytest.param(full_of("a:\n") + "\nx", id="headers"),
        pytest.param(parts("mixed", full_of("--B\n\nx\n")), id="parts"),
        pytest.param(parts("mixed", full_of("--B\n\n\n") + "--B\n\nx"), id="empty parts"),
    ],
)
def test_a_mail_made_to_take_long_does_not(mail: str) -> None:
    began = time.monotonic()
    assert text_of(mail)
    assert time.monotonic() - began < 60  # seconds at most; the standard parser took up to half an hour


@pytest.mark.parametrize(
    "level", ["Content-Type: message/rfc822\n\n", "Content-Type: multipart/mixed; boundary=B{index}\n\n--B{index}\n"]
)
def test_a_mail_nested_without_end_is_a_failed_document(read: Read, level: str) -> None:
    mail = "".join(level.format(index=index) for index in range(10_000)) + PLAIN + "x"
    (outcome,) = outcomes(read("t.eml", mail, limit=1_000_000))
    assert outcome == "t.eml: parts of the mail are nested more than 30 deep; export it again"
