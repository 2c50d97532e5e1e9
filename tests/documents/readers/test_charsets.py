"""What bytes say of themselves is believed: charsets by their common names, byte order marks, single bad bytes."""

import codecs

import pyarrow as pa
import pytest

from pipelines.documents.readers.charsets import decode
from pipelines.documents.readers.lines import Unreadable
from tests.documents.readers.reading import Read, outcomes, parquet_bytes


@pytest.mark.parametrize(
    ("declared", "stored_as", "text"),
    [
        ("gb2312", "gb18030", "我们公司（朱镕基路）"),  # noqa: RUF001  # the text itself
        ("GB_2312-80", "gb18030", "朱镕基"),
        ("x-gbk", "gb18030", "發票"),
        ("shift_jis", "cp932", "①㈱髙﨑"),
        ("x-sjis", "cp932", "①㈱髙﨑"),
        ("Windows-31J", "cp932", "①㈱髙﨑"),
        ("ks_c_5601-1987", "cp949", "똠방각하"),
        ("ks_c_5601", "cp949", "똠방각하"),
        ("EUC-KR", "cp949", "펲시콜라"),
        ("windows-949", "cp949", "똠"),
        ("iso-8859-1", "cp1252", "„Störung“ – 5 €"),  # noqa: RUF001  # the text itself
        ("latin-1", "cp1252", "5 €"),
        ("us-ascii", "cp1252", "5 €"),
        ("us-ascii", "utf-8", "5 €"),
        ("iso-8859-9", "cp1254", "ığ €"),
        ("iso-8859-8-i", "iso8859-8", "שלום"),
        ("tis-620", "cp874", "สวัสดี €"),
        ("big5", "cp950", "發票€"),
        ("big5", "big5hkscs", "嘅㗎"),
        ("euc-jp", "euc_jis_2004", "①"),
        ("koi8-ru", "koi8-u", "їж"),
        ("win-1251", "cp1251", "їж"),
        ("cp-1250", "cp1250", "łódź"),
        ("x-mac-roman", "mac-roman", "naïve"),
        ('"UTF8"', "utf-8", "naïve"),
        ("unicode-1-1-utf-8", "utf-8", "naïve"),
        ("utf-7", "utf-7", "naïve"),
        ("utf-16", "utf-16-le", "naïve"),
        ("", "utf-8", "naïve"),
        ("x-unknown", "utf-8", "naïve"),
    ],
)
def test_a_charset_is_what_its_name_commonly_means(declared: str, stored_as: str, text: str) -> None:
    decoded = decode(text.encode(stored_as), "file", declared)
    assert (decoded.text, decoded.note) == (text, None)


def test_iso_2022_jp_holds_what_windows_mailers_put_in_it() -> None:
    # The double bytes of the circled one, of (kabu) and of the ladder-shaped "high", as cp50220 writes them.
    data = b"a\x1b$B-!-j|b\x1b(J b \x1b(I1\x1b(B\n\x1b$(D0!\x1b(B c"
    assert decode(data, "file", "ISO-2022-JP").text == "a①㈱髙 b ｱ\n丂 c"
    assert decode("日本語テスト".encode("iso2022_jp"), "file", "iso-2022-jp").text == "日本語テスト"
    cut = decode(b"text \x1b$B-!\x7f\x1b(B and more", "file", "iso-2022-jp")
    assert cut.text.startswith("text ①") and cut.text.endswith(" and more")


@pytest.mark.parametrize("name", ["klingon", "punycode", "unicode-escape", "base64", "a\0b", "x" * 500])
def test_a_charset_that_is_none_is_told_and_the_text_read_as_utf8(name: str) -> None:
    decoded = decode("naïve".encode(), "mail body", name)
    assert decoded.text == "naïve"
    assert decoded.note == f"the charset {name[:40]!r} of the mail body is not known: read as UTF-8"
    assert decode(b"plain", "mail body", name).note is None


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("t.txt", b"caf\xe9", "caf\ufffd"),
        ("t.md", b"caf\xe9", "caf\ufffd"),
        ("t.html", b"<p>caf\xe9", "caf\ufffd"),
        ("t.eml", b"\n\ncaf\xe9", "caf\ufffd"),
        ("t.jsonl", b'{"text": "caf\xe9"}', "caf\ufffd"),
        ("t.json", b'[{"text": "caf\xe9"}]', "caf\ufffd"),
        ("t.csv", b"text\n\xc3\xbc\ncaf\xe9\n", "caf\ufffd"),
        ("t.tsv", b"text\n\xc3\xbc\ncaf\xe9\n", "caf\ufffd"),
        ("t.csv", b'text\n\xc3\xbc\n"one\ncaf\xe9"\n', "one\ncaf\ufffd"),
        (
            "t.parquet",
            parquet_bytes(pa.table({"text": pa.array([b"caf\xe9"], pa.binary()).cast(pa.string(), safe=False)})),
            "caf\ufffd",
        ),
    ],
)
def test_one_bad_byte_is_shown_and_told_in_every_reader(read: Read, name: str, content: bytes, text: str) -> None:
    document = read(name, content)[-1]
    assert (document.text, document.failure) == (text, None)
    assert document.note is not None and "not UTF-8 at byte" in document.note and "read as U+FFFD" in document.note


def test_several_bad_bytes_are_counted_and_a_replacement_that_was_there_is_no_news(read: Read) -> None:
    (document,) = read("t.txt", b"caf\xe9 and many more words, among them na\xefve")
    assert document.note == "not UTF-8 at byte 3 of the file and 1 more: read as U+FFFD"
    assert read("t.txt", "was \ufffd already")[0].note is None


def test_what_is_mostly_not_in_its_charset_is_refused() -> None:
    with pytest.raises(Unreadable, match="not UTF-8 at byte 0 of the file; convert it to UTF-8"):
        decode(bytes(range(128, 256)), "file")


ENCODINGS = [
    ("utf-8", codecs.BOM_UTF8),
    ("utf-16-le", codecs.BOM_UTF16_LE),
    ("utf-16-be", codecs.BOM_UTF16_BE),
    ("utf-32-le", codecs.BOM_UTF32_LE),
    ("utf-32-be", codecs.BOM_UTF32_BE),
]


@pytest.mark.parametrize(("encoding", "mark"), ENCODINGS)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.txt", "naïve 😀"),
        ("t.md", "naïve 😀"),
        ("t.html", "<meta charset=koi8-r><p>naïve 😀"),
        ("t.jsonl", '{"text": "naïve 😀", "id": "1"}\n'),
        ("t.json", '[{"text": "naïve 😀"}]'),
        ("t.csv", '"text",id\nnaïve 😀,1\n'),
        ("t.tsv", "id\ttext\n1\tnaïve 😀\n"),
    ],
)
def test_a_byte_order_mark_tells_how_a_file_is_written(
    read: Read, name: str, content: str, encoding: str, mark: bytes
) -> None:
    (document,) = read(name, mark + content.encode(encoding))
    assert (document.text, document.note) == ("naïve 😀", None)


def test_the_lines_of_a_long_utf16_file_are_cut_where_they_end(read: Read) -> None:
    rows = "".join(f'{{"text": "row {index} 😀"}}\n' for index in range(5_000))
    documents = read("t.jsonl", codecs.BOM_UTF16_LE + rows.encode("utf-16-le"))
    assert outcomes(documents) == [f"row {index} 😀" for index in range(5_000)]


def test_half_a_character_of_utf16_is_told(read: Read) -> None:
    (document,) = read(
        "t.csv", codecs.BOM_UTF16_LE + "text\na long enough \ud83d word".encode("utf-16-le", "surrogatepass")
    )
    assert document.text == "a long enough \ufffd word" and document.note is not None


def test_marks_within_joined_files_are_no_text(read: Read) -> None:
    mark = "\ufeff"
    assert outcomes(read("t.jsonl", f'{mark}{{"text": "a"}}\n{mark}{{"text": "b"}}\n')) == ["a", "b"]
    assert outcomes(read("t.csv", f"{mark}id,text\n1,a\n{mark}id,text\n2,b\n")) == ["a", "b"]
    assert outcomes(read("t.txt", f"{mark}a\n{mark}b\n")) == ["a\nb\n"]


@pytest.mark.parametrize(
    "head",
    [
        '<meta charset="windows-1252">',
        "<META CHARSET=ISO-8859-1>",
        '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">',
        "<meta content='text/html;charset=windows-1252' http-equiv=Content-Type />",
        '<?xml version="1.0" encoding="ISO-8859-1"?>',
        '<!-- <meta charset="koi8-r"> --><meta charset="latin1">',
    ],
)
def test_a_page_is_read_in_the_charset_that_it_declares(read: Read, head: str) -> None:
    (document,) = read("t.html", f"{head}<p>Störung – 5 €".encode("cp1252"))  # noqa: RUF001  # the text itself
    assert (document.text, document.note) == ("Störung – 5 €", None)  # noqa: RUF001  # the text itself


def test_a_page_that_calls_itself_utf16_and_can_be_read_is_not(read: Read) -> None:
    assert outcomes(read("t.html", "<meta charset=utf-16><p>naïve")) == ["naïve"]
