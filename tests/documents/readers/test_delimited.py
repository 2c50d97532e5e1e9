"""How a CSV file is written is told from its head, or by the job: delimiter, quotes, escapes, charset."""

from __future__ import annotations

import gzip

import pytest

from pipelines.documents.records import CsvMarks, RowColumns
from tests.documents.readers.reading import Read, outcomes

TEXT = "We were charged twice; please mend it, soon"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("excel.csv", f'\ufeffid;text\r\n1;"{TEXT}"\r\n'),
        ("bars.csv", f'id|"text"\n1|{TEXT}\n'),
        ("tabs.csv", f"id\ttext\n1\t{TEXT}\n"),
        ("commas.tsv", f'id,text\n1,"{TEXT}"\n'),
        ("single.csv", f"'id','text'\n1,'{TEXT}'\n"),
        ("single.csv", f"'id';'text'\n1;'{TEXT}'\n"),
        ("spark.csv", f'id,text,n\n1,"{TEXT}",2\n2,"he said \\"no\\" and left",3\n'),
    ],
)
def test_delimiter_quote_and_escape_are_told_from_the_head(read: Read, name: str, content: str) -> None:
    document, *rest = read(name, content)
    assert (document.document_id, document.text) == ("1", TEXT)
    assert outcomes(rest) == (['he said "no" and left'] if rest else [])


def test_a_header_that_has_the_text_is_cut_as_the_name_says_whatever_else_is_in_it(read: Read) -> None:
    assert outcomes(read("t.csv", "id,text,a;b;c\n1,x;y,2\n")) == ["x;y"]
    assert outcomes(read("t.csv", "text\na;b\n")) == ["a;b"]


def test_what_the_job_says_goes_before_what_it_looks_like(read: Read) -> None:
    said = RowColumns(csv=CsvMarks(delimiter="/", quote="'", escape="^"))
    assert outcomes(read("t.csv", "id/text\n1/'a/b ^'c^' \"d\"'\n", said)) == ["a/b 'c' \"d\""]


def test_where_nothing_is_quoted_a_quote_is_text(read: Read) -> None:
    said = RowColumns(csv=CsvMarks(quote=""))
    assert outcomes(read("t.tsv", 'id\ttext\n1\t"open\n2\t5" pipe\n', said)) == ['"open', '5" pipe']


def test_a_wrong_delimiter_is_told_with_the_right_one(read: Read) -> None:
    (outcome,) = outcomes(read("t.csv", "id;text\n1;x\n", RowColumns(csv=CsvMarks(delimiter=","))))
    assert outcome is not None and "separated by semicolons, not by commas; mend csv.delimiter" in outcome


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (r'"C:\\dir\\ and \"x\" there"', 'C:\\dir\\ and "x" there'),
        (r'"a ""doubled"" quote, too"', 'a "doubled" quote, too'),
        (r'"a \n that is no line end"', r"a \n that is no line end"),
        ('"two\nlines \\"with\\" quotes"', 'two\nlines "with" quotes'),
        (r"C:\dir without quotes", r"C:\dir without quotes"),
    ],
)
def test_an_escape_counts_within_quotes_only(read: Read, stored: str, text: str) -> None:
    said = RowColumns(csv=CsvMarks(escape="\\"))
    assert outcomes(read("t.csv", f'id,text\n1,{stored}\n2,"next"\n', said)) == [text, "next"]


def test_a_path_that_ends_in_a_backslash_is_no_escape(read: Read) -> None:
    content = 'id,text,n\n1,"C:\\dir\\",2\n2,"D:\\more\\",3\n3,"say \\"x\\" here",4\n'
    first, second, damaged = outcomes(read("t.csv", content))
    assert (first, second) == ("C:\\dir\\", "D:\\more\\")
    assert damaged is not None and 'set csv.escape to "\\\\"' in damaged


def test_a_row_over_the_limit_costs_itself_only_in_every_dialect(read: Read) -> None:
    said = RowColumns(csv=CsvMarks(quote="'"))
    failed, good = outcomes(read("a.csv", "id;text\n1;'" + "a\n" * 600 + "'\n2;'good'\n", said))
    assert failed is not None and "limits.max_document_bytes" in failed and good == "good"


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_western_letters_in_a_file_that_is_no_utf_8_are_read_and_told(read: Read, suffix: str) -> None:
    content = "id;text\n1;Rechnung für Müller über 5 €\n2;plain\n".encode("cp1252")
    first, second = read(f"t.{suffix}", gzip.compress(content) if "gz" in suffix else content)
    assert first.text == "Rechnung für Müller über 5 €"
    assert (
        first.note
        == "not UTF-8: read as cp1252, by the looks of the file's head; csv.encoding in the job says otherwise"
    )
    assert (second.text, second.note) == ("plain", None)


@pytest.mark.parametrize(
    ("encoding", "text"), [("windows-1253", "δύο φορές"), ("shift_jis", "二重請求"), ("utf-16-le", "déjà")]
)
def test_another_charset_is_not_guessed_and_read_once_it_is_said(read: Read, encoding: str, text: str) -> None:
    content = f"id,text\n1,{text}\n".encode(encoding)
    (document,) = read("t.csv", content, RowColumns(csv=CsvMarks(encoding=encoding)))
    assert (document.text, document.note) == (text, None)
    assert text not in outcomes(read("t.csv", content))


def test_one_slip_in_a_file_of_utf_8_does_not_make_it_another_charset(read: Read) -> None:
    good, slip = read("t.csv", "id,text\n1,für Müller\n".encode() + b"2,caf\xe9 noir\n")
    assert good.text == "für Müller" and slip.text == "caf\ufffd noir"


def test_a_workbook_is_refused_with_what_to_do(read: Read) -> None:
    assert outcomes(read("t.xlsx", b"PK\x03\x04")) == [
        "t.xlsx: is an Excel workbook; export its sheet as CSV (UTF-8), or write it as Parquet"
    ]


def test_json_that_holds_lines_is_read_as_lines_compressed_or_not(read: Read) -> None:
    lines = b'{"text":"charged twice","url":"x"}\n{"text":"outage","url":"y"}\n'
    for name, content in [("c4.json", lines), ("c4.json.gz", gzip.compress(lines))]:
        assert outcomes(read(name, content)) == ["charged twice", "outage"]
