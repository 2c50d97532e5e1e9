"""What a file holds decides how it is read, whatever its name says."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.documents.readers import parquet_reader
from pipelines.documents.readers.readers import DIFF_READERS, read_documents
from pipelines.documents.records import RowColumns, SourceFile
from pipelines.documents.sources import sources
from pipelines.documents.sources.sources import list_sources
from pipelines.documents.sources.table_formats import table_refusal
from tests.documents.readers.reading import LIMIT, Read, outcomes, parquet_bytes

ROWS = '{"text": "a"}\n{"text": "b"}\n'
TABLE = parquet_bytes(pa.table({"text": ["a", "b"]}))
ZSTD = pa.compress(ROWS.encode(), "zstd", asbytes=True)


@pytest.mark.parametrize("name", ["df.parquet.gz", "df.parq", "df.jsonl", "part-00000", "df.txt", "df.gz"])
def test_parquet_is_told_by_its_first_bytes(read: Read, name: str) -> None:
    assert outcomes(read(name, TABLE)) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json.gz", gzip.compress(ROWS.encode())),
        ("t.json.gzip", gzip.compress(ROWS.encode())),
        ("t.jsonl.gzip", gzip.compress(ROWS.encode())),
        ("t.jsonl.zstd", ZSTD),
        ("t.jsonl", gzip.compress(ROWS.encode())),
        ("t.jsonl", ZSTD),
        ("t.jsonl", b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + ZSTD),
        ("t.jsonl.zst", gzip.compress(ROWS.encode())),
        ("t.jsonl.gz", ZSTD),
        ("t.jsonl.gz", ROWS.encode()),
        ("t.jsonl.zst", ROWS.encode()),
        ("part-00000", ROWS.encode()),
        ("part-00000.gz", gzip.compress(ROWS.encode())),
        ("t.csv", gzip.compress(b"text\na\nb\n")),
        ("t.csv.gz", b"text\na\nb\n"),
    ],
)
def test_compression_is_told_by_the_first_bytes(read: Read, name: str, content: bytes) -> None:
    assert outcomes(read(name, content)) == ["a", "b"]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.ndjson"])
@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        '[{"text": "a"}, {"text": "b"}]',
        '[\n  {\n    "text": "a"\n  },\n  {\n    "text": "b"\n  }\n]\n',
        '{\n  "text": "a"\n}\n{\n  "text": "b"\n}\n',
        '[{"text": "a", "x": [{"y": "]}\\\\\\""}]},{"text":"b"}]',
    ],
)
def test_json_may_be_lines_or_an_array_or_objects_over_lines(read: Read, name: str, content: str) -> None:
    documents = read(name, content)
    assert outcomes(documents) == ["a", "b"]
    assert [document.document_offset for document in documents] == [1, 2]
    assert [document.document_id for document in documents] == [f"{name}:1", f"{name}:2"]


def test_an_array_is_read_in_pieces_of_any_size(read: Read) -> None:
    rows = ", ".join(f'{{"text": "row {index} \\" \\\\", "x": ["]", "}}"]}}' for index in range(5_000))
    assert outcomes(read("t.json", f"[{rows}]")) == [f'row {index} " \\' for index in range(5_000)]


def test_a_bad_value_of_an_array_costs_itself_only(read: Read) -> None:
    content = '[{"text": "a"}, {"text" "b"}, 7, {"text": "' + "x" * LIMIT + '"}, {"text": "c"}, {"text": "d'
    assert outcomes(read("t.json", content)) == [
        "a",
        "t.json:2: not valid JSON (at column 9); mend or remove the line",
        "t.json:3: JSON line is not an object; write one object per line",
        "t.json:4: line is 1013 bytes (limits.max_document_bytes is 1000); split it or raise the limit",
        "c",
        "t.json:6: not valid JSON (cut off at column 11?); mend or remove the line",
        "t.json:7: the array is cut off here (it has no closing bracket); send the file again",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.parquet", parquet_bytes(pa.table({"text": pa.array([], pa.string())}))),
        ("t.csv", b"id,text\n"),
        ("t.csv", b""),
        ("t.jsonl", b""),
        ("t.jsonl", b"\n \n"),
        ("t.jsonl.gz", gzip.compress(b"")),
        ("t.json", b"[]"),
        ("t.json", b"[\n]\n"),
    ],
)
def test_a_part_without_rows_is_no_failed_document(read: Read, name: str, content: bytes) -> None:
    assert read(name, content) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"%PDF-1.7\n", "a PDF"),
        (b"PK\x03\x04xl/workbook", "a ZIP archive or an Office document"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"BZh91AY&SYx", "compressed with bzip2"),
    ],
)
def test_what_is_no_text_under_a_name_of_text_is_named(read: Read, content: bytes, what: str) -> None:
    for name in ("t.txt", "t.csv", "t.eml", "t.txt.gz"):
        (outcome,) = outcomes(read(name, gzip.compress(content) if name.endswith(".gz") else content))
        assert outcome is not None and outcome.startswith(f"{name}: is {what}, whatever its name says; send its text")


def test_a_diff_table_is_told_by_its_content_too(tmp_path: Path) -> None:
    (tmp_path / "rows.diff").write_bytes(TABLE)
    documents = read_documents(list_sources(str(tmp_path))[0], RowColumns(), LIMIT, DIFF_READERS)
    assert outcomes(list(documents)) == ["a", "b"]


def test_ids_that_are_not_a_number_are_missing(read: Read) -> None:
    rows = (
        '{"id": NaN, "text": "a"}\n{"id": "nan", "text": "b"}\n{"id": Infinity, "text": "c"}\n{"id": null, "text": "d"}'
    )
    assert [document.document_id for document in read("t.jsonl", rows)] == [f"t.jsonl:{line}" for line in (1, 2, 3, 4)]
    ids = pa.array([float("nan"), None, 1001.0], pa.float64())
    table = pa.table({"text": ["a", "b", "c"], "id": ids, "gold": ids})
    documents = read("t.parquet", parquet_bytes(table), RowColumns(gold="gold"))
    assert [document.document_id for document in documents] == ["t.parquet:0", "t.parquet:1", "1001"]
    assert [document.gold_label for document in documents] == [None, None, "1001"]


@pytest.mark.parametrize(
    ("value", "expected"), [("1001.0", "1001"), ("-7.0", "-7"), ("1.5", "1.5"), ("1e300", "1e+300"), ("0.0", "0")]
)
def test_a_whole_number_stays_one_in_a_floating_column(read: Read, value: str, expected: str) -> None:
    assert read("t.jsonl", f'{{"text": "a", "id": {value}}}')[0].document_id == expected


def test_what_is_not_a_number_is_carried_as_missing(read: Read) -> None:
    columns = RowColumns(attributes=frozenset({"pii"}))
    assert read("t.jsonl", '{"text": "a", "pii": NaN}', columns)[0].attributes == {"pii": None}


def test_the_files_of_a_table_with_a_log_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t" / "day=1").mkdir(parents=True)
    (tmp_path / "t" / "day=1" / "part.parquet").write_bytes(TABLE)
    (source,) = list_sources(str(tmp_path))
    assert outcomes(list(read_documents(source, RowColumns(), LIMIT))) == ["a", "b"]
    for log, name, kind in [
        ("_delta_log", "00000000000000000000.json", "Delta"),
        ("metadata", "v1.metadata.json", "Iceberg"),
        (".hoodie", "hoodie.properties", "Hudi"),
    ]:
        folder = f"{tmp_path}/t/{log}"
        refusal = table_refusal(
            source, {folder: [name]}.get(folder) and (lambda at, f=folder, n=name: [n] if at == f else [])
        )
        assert refusal is not None and refusal.startswith(f"is part of a {kind} table: its log ({log}) says")


def test_a_delta_table_on_disk_is_failed_files_and_a_folder_called_metadata_is_not(tmp_path: Path) -> None:
    for name in ("delta", "plain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.parquet").write_bytes(TABLE)
    (tmp_path / "delta" / "_delta_log").mkdir()
    (tmp_path / "delta" / "_delta_log" / "00000000000000000000.json").write_text("{}")
    (tmp_path / "plain" / "metadata").mkdir()
    (tmp_path / "plain" / "metadata" / "notes.json").write_text("{}")
    found = {source.path: source for source in list_sources(str(tmp_path)) if source.path.endswith(".parquet")}
    (refused,) = outcomes(list(read_documents(found["delta/part.parquet"], RowColumns(), LIMIT)))
    assert refused is not None and "write the table's present rows as plain Parquet files" in refused
    assert outcomes(list(read_documents(found["plain/part.parquet"], RowColumns(), LIMIT))) == ["a", "b"]


def test_a_table_above_the_input_is_none_of_the_inputs(tmp_path: Path) -> None:
    source = SourceFile("/lake/table/day=1/x.parquet", "x.parquet", 1, "1")
    assert table_refusal(source, lambda folder: ["0.json"] if folder == "/lake/_delta_log" else []) is None


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_little_data_that_becomes_very_much_is_refused(
    read: Read, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    monkeypatch.setattr(sources, "EXPANSION_FREE_BYTES", 1_000_000)
    rows = b'{"text": "a"}\n' + b"\n" * 20_000_000
    packed = gzip.compress(rows) if packing == "gz" else pa.compress(rows, "zstd", asbytes=True)
    outcome = outcomes(read(f"t.jsonl.{packing}", packed))
    assert outcome == [
        "a",
        f"t.jsonl.{packing}: its compressed data becomes more than 200 times as much; if it is meant, decompress it",
    ]


def test_a_parquet_column_that_becomes_very_much_is_refused_before_it_is_read(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_reader, "EXPANSION_FREE_BYTES", 1_000_000)
    table = pa.table({"text": ["a" * 3_000_000]})
    (outcome,) = outcomes(read("t.parquet", parquet_bytes(table)))
    assert outcome is not None and "its compressed data becomes more than 200 times as much" in outcome
