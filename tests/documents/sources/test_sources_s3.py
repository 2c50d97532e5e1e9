"""Input on S3: what is listed, what is read, and what happens to objects that change, vanish or may not be read."""

import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.local.s3 import Emulator, FaultProxy, Faults
from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.documents.sources.own_places import OwnPlaces
from pipelines.documents.sources.sources import list_input, list_sources, open_seekable, open_source, read_ahead
from pipelines.errors import JobError, StoreError
from pipelines.store.s3_reading import PIECE_BYTES, ObjectUnavailable
from tests.documents.sources.source_case import INBOX_FILES, paths, read
from tests.infra.s3_scripted_server import ScriptedServer, refusal
from tests.s3_fixtures import Bucket, be_impatient, forget_clients, fresh_bucket, use

CHANGED = "changed since the run was planned; start a new run to read the new version"
GONE = "gone since it was listed; put it back or start a new run"


@pytest.fixture
def inbox(s3: Bucket) -> Bucket:
    for name in (*INBOX_FILES, "2024/", "2024/june/", "empty folder/"):
        s3.put(f"inbox/{name}", b"" if name.endswith("/") else name.encode())
    s3.put("inbox-old/z.jsonl", b"not below inbox/")
    return s3


def failure(source: SourceFile) -> str:
    (document,) = read_documents(source, RowColumns(), 10_000_000)
    assert document.failure is not None
    return document.failure


def test_a_folder_is_listed_without_hidden_objects_unfinished_uploads_and_markers(inbox: Bucket) -> None:
    expected = ["2024/june/d.txt", "2024/may/c.jsonl", "a.csv", "b.jsonl"]
    assert paths(f"{inbox.uri}/inbox") == paths(f"{inbox.uri}/inbox/") == expected
    assert "inbox/a.csv" in paths(inbox.uri)
    assert "inbox-old/z.jsonl" in paths(f"{inbox.uri}/")


def test_a_source_says_where_it_is_how_large_and_its_etag(inbox: Bucket) -> None:
    (source,) = list_sources(f"{inbox.uri}/inbox/a.csv")
    e_tag = inbox.client().head_object(Bucket=inbox.name, Key="inbox/a.csv")["ETag"]
    assert source == SourceFile(f"{inbox.uri}/inbox/a.csv", "a.csv", 5, e_tag)
    assert source in list_sources(f"{inbox.uri}/inbox")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["b.jsonl"]),
        ("**/*.jsonl", ["2024/may/c.jsonl", "b.jsonl"]),
        ("2024/*/?.txt", ["june/d.txt"]),
        ("[!a].*", ["b.jsonl"]),
        ("20*/june/*", ["2024/june/d.txt"]),
    ],
)
def test_a_glob_is_relative_to_its_fixed_leading_folder(inbox: Bucket, pattern: str, expected: list[str]) -> None:
    assert paths(f"{inbox.uri}/inbox/{pattern}") == expected


def test_a_glob_of_the_whole_bucket(inbox: Bucket) -> None:
    assert paths(f"{inbox.uri}/*/z.jsonl") == ["inbox-old/z.jsonl"]


@pytest.mark.parametrize("name", ["data[1].txt", "what?.txt", "a*b.txt", "100%25.txt", "a b+c.txt", "ümlaut.txt"])
def test_a_key_with_special_characters_is_taken_literally_when_it_exists(s3: Bucket, name: str) -> None:
    s3.put(f"in %box?/{name}", name.encode())
    (source,) = list_sources(f"{s3.uri}/in %box?/{name}")
    assert (source.path, read(source)) == (name, name.encode())
    assert list_sources(f"{s3.uri}/in %box?") == [source]


def test_an_empty_object_is_a_document_and_not_a_marker(s3: Bucket) -> None:
    s3.put("inbox/empty.txt", b"")
    (source,) = list_sources(f"{s3.uri}/inbox")
    assert read(source) == b""
    assert failure(source) == "empty.txt: is empty; send it again or remove it"


@pytest.mark.parametrize("location", ["nowhere", "inbox/*.pdf", "inbox/a.csv/", "empty folder"])
def test_nothing_found_is_refused_with_the_next_move(inbox: Bucket, location: str) -> None:
    wanted = f"{inbox.uri}/{location}"
    with pytest.raises(JobError) as caught:
        list_sources(wanted)
    assert caught.value.problems == [
        f"input: nothing found at {wanted!r}; give a file, a folder, a glob or an s3:// prefix"
    ]


def test_a_bucket_that_is_not_there(s3: Bucket) -> None:
    with pytest.raises(JobError) as caught:
        list_sources("s3://nobody-has-this/inbox")
    assert caught.value.problems == [
        "input: cannot list 's3://nobody-has-this/inbox': there is no bucket 'nobody-has-this'; "
        "create it or mend its name"
    ]


def test_keys_that_cannot_be_used_fail_alone_as_local_names_do(s3: Bucket) -> None:
    s3.put("inbox/b.txt", b"1")
    s3.put("inbox/folder/", b"")
    for name in ("inbox//a.txt", "inbox/a\x1b[2J.txt", "inbox/a\u2028b.txt", "inbox/../up.txt"):
        s3.put(name, b"1")
    sources = {source.path: source for source in list_sources(f"{s3.uri}/inbox")}
    assert set(sources) == {"/a.txt", "a\\x1b[2J.txt", "a\\u2028b.txt", "b.txt"}, "what begins with a dot is hidden"
    assert read(sources["b.txt"]) and not sources["b.txt"].problem
    assert failure(sources["/a.txt"]).endswith("which no request can carry; rename it")
    assert failure(sources["a\\x1b[2J.txt"]).endswith("holds a line break or control character; rename it")
    assert sources["a\\x1b[2J.txt"].uri == f"{s3.uri}/inbox/a%1B%5B2J.txt"
    assert {source.path for source in list_sources(f"{s3.uri}/inbox/*.txt")} == set(sources) - {"/a.txt"}


def test_such_a_key_named_outright_is_refused(s3: Bucket) -> None:
    s3.put("inbox//a.txt", b"1")
    with pytest.raises(JobError) as caught:
        list_sources(f"{s3.uri}/inbox//a.txt")
    assert f"input: a key under 's3://{s3.name}/inbox//a.txt' cannot be used" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("x.txt", b"one\ntwo\n"),
        ("x.txt.gz", gzip.compress(b"one\n", mtime=0) + gzip.compress(b"two\n", mtime=0)),
        ("x.txt.zst", pa.compress(b"one\n", "zstd", asbytes=True) + pa.compress(b"two\n", "zstd", asbytes=True)),
    ],
)
def test_compressed_objects_are_decompressed_on_the_fly(s3: Bucket, name: str, stored: bytes) -> None:
    s3.put(name, stored)
    (source,) = list_sources(s3.uri)
    assert read(source) == b"one\ntwo\n"
    assert [read(ahead) for ahead in read_ahead([source])] == [b"one\ntwo\n"]


def large_text() -> bytes:
    return b"".join(b'{"text": "line %0500d"}\n' % number for number in range(50_000))  # three pieces and a bit


@pytest.mark.parametrize("pack", [bytes, lambda data: gzip.compress(data, 0)], ids=["plain", "gzip"])
def test_a_large_object_is_read_in_pieces(s3: Bucket, pack: Callable[[bytes], bytes]) -> None:
    text = large_text()
    assert len(text) > 3 * PIECE_BYTES
    suffix = ".gz" if pack is not bytes else ""
    s3.put(f"x.jsonl{suffix}", pack(text))
    (source,) = list_sources(s3.uri)
    assert read(source) == text


def parquet(rows: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [f"row {number}" for number in range(rows)]}), sink, row_group_size=1_000)
    return sink.getvalue()


def test_parquet_is_read_by_ranges_and_whole(s3: Bucket) -> None:
    s3.put("x.parquet", parquet(5_000))
    (source,) = list_sources(s3.uri)
    expected = [f"row {number}" for number in range(5_000)]
    assert [document.text for document in read_documents(source, RowColumns(), 10_000)] == expected
    (ahead,) = read_ahead([source])
    assert [document.text for document in read_documents(ahead, RowColumns(), 10_000)] == expected
    with open_seekable(source) as file:
        file.seek(-4, io.SEEK_END)
        assert (file.read(), file.read(), file.size()) == (b"PAR1", b"", source.size_bytes)


@pytest.mark.parametrize("name", ["x.txt", "x.jsonl.gz", "x.csv.zst", "x.html", "x.eml", "x.parquet"])
@pytest.mark.parametrize("is_ahead", [False, True])
def test_an_object_that_changed_or_went_fails_alone_with_that_reason(s3: Bucket, name: str, is_ahead: bool) -> None:
    s3.put(name, b"first")
    (source,) = list_sources(s3.uri)
    s3.put(name, b"other")
    for expected in (CHANGED, GONE):
        (present,) = read_ahead([source]) if is_ahead else [source]
        assert failure(present) == f"{name}: {expected}"
        s3.client().delete_object(Bucket=s3.name, Key=name)


def test_an_object_that_changes_while_it_is_read_gives_its_first_rows_and_a_failure(s3: Bucket) -> None:
    text = large_text()
    s3.put("x.jsonl", text)
    (source,) = list_sources(s3.uri)
    documents = read_documents(source, RowColumns(), 10_000)
    assert next(documents).text == "line " + "0" * 500
    s3.put("x.jsonl", text.replace(b"line", b"LINE"))
    *read_before, last = documents
    assert last.failure == f"x.jsonl: {CHANGED}"
    assert all(document.text and document.text.startswith("line ") for document in read_before)
    assert PIECE_BYTES // 520 < len(read_before) < 50_000 - 1


def test_parquet_that_changes_while_it_is_read(s3: Bucket) -> None:
    s3.put("x.parquet", parquet(5_000))
    (source,) = list_sources(s3.uri)
    documents = read_documents(source, RowColumns(), 10_000)
    assert next(documents).text == "row 0"
    s3.put("x.parquet", parquet(6_000))
    *_, last = documents
    assert last.failure == f"x.parquet: {CHANGED}"


def test_a_local_file_that_changed_fails_with_the_same_reason(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("first")
    (source,) = list_sources(str(tmp_path))
    (tmp_path / "x.txt").write_text("another")
    assert failure(source) == f"x.txt: {CHANGED}"
    (tmp_path / "x.txt").unlink()
    assert failure(source) == f"x.txt: {GONE}"


def test_many_small_objects_come_in_their_order(s3: Bucket) -> None:
    for number in range(300):
        s3.put(f"inbox/{number:04d}.txt", f"text {number}".encode())
    sources = list_sources(f"{s3.uri}/inbox")
    texts = [
        document.text for source in read_ahead(sources) for document in read_documents(source, RowColumns(), 1_000)
    ]
    assert texts == [f"text {number}" for number in range(300)]


def test_one_who_stops_early_asks_for_no_more(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        s3.put(f"{number:04d}.txt", b"text")
    with FaultProxy(tmp_path, s3.server.endpoint, Faults(internal_errors=1.0, per_request=1)) as proxy:
        sources = list_sources(s3.uri)
        use({"AWS_ENDPOINT_URL": proxy.endpoint}, monkeypatch)
        with closing(read_ahead(sources)) as ahead:
            assert read(next(ahead)) == b"text"
        assert 0 < len(proxy.disturbances()) < 200


def test_local_files_and_large_objects_pass_through_read_ahead_as_they_are(s3: Bucket, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("local")
    s3.put("large.txt", b"x" * 2_000_000)
    sources = [*list_sources(str(tmp_path)), *list_sources(s3.uri)]
    assert list(read_ahead(sources)) == sources
    assert list(read_ahead([])) == []


@pytest.fixture
def strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with Emulator(tmp_path / "s3", auth=True) as emulator:
        yield fresh_bucket(emulator, monkeypatch)
    forget_clients()


POLICY = """{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"},
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::%s/inbox/*"}]}"""


def test_with_the_permissions_of_one_folder(strict: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    strict.put("inbox/a.txt", b"mine")
    strict.put("private/b.txt", b"not mine")
    iam = strict.client("iam")
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="inbox", PolicyDocument=POLICY % strict.name)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    use({"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}, monkeypatch)

    (source,) = list_sources(f"{strict.uri}/inbox")  # the folder's own name is outside of what may be read
    assert read(source) == b"mine"
    (hidden,) = list_sources(f"{strict.uri}/private")
    where = f"s3://{strict.name}/private/b.txt"
    assert failure(hidden) == f"b.txt: may not be read (access denied; allow s3:GetObject on {where})"
    with pytest.raises(JobError) as caught:
        list_sources(where)
    assert caught.value.problems == [
        f"input: cannot list '{where}' (access denied; allow s3:GetObject on {where} and s3:ListBucket on "
        f"s3://{strict.name}, and check the AWS keys); check access and spelling"
    ]


def test_credentials_that_expire_stop_the_run_and_fail_no_document(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("x.txt", b"text")
    (source,) = list_sources(s3.uri)
    with ScriptedServer(refusal(400, "ExpiredToken")).serving() as server:
        use({"AWS_ENDPOINT_URL": server.endpoint}, monkeypatch)
        with pytest.raises(StoreError) as caught:
            list(read_documents(source, RowColumns(), 1_000))
    assert str(caught.value) == (
        f"input: cannot read 's3://{s3.name}/x.txt': the AWS session token has expired; renew it and run the same "
        "command again: nothing committed is lost"
    )


def test_credentials_that_have_expired_are_named_when_the_input_is_listed(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer((400, ""), refusal(400, "ExpiredToken")).serving() as server:
        use({"AWS_ENDPOINT_URL": server.endpoint}, monkeypatch)
        with pytest.raises(JobError) as caught:
            list_sources("s3://inbox/may")
    assert caught.value.problems == [
        "input: cannot list 's3://inbox/may': the AWS session token has expired; renew it and run the same command "
        "again: nothing committed is lost"
    ]


def test_a_server_that_is_away_is_no_mistake_in_the_job(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    be_impatient(monkeypatch)
    with ScriptedServer(refusal(429, "TooManyRequests")).serving() as server:
        use({"AWS_ENDPOINT_URL": server.endpoint}, monkeypatch)
        with pytest.raises(StoreError) as caught:
            list_sources("s3://inbox/may/")
    assert str(caught.value) == (
        "input: cannot list 's3://inbox/may': S3 answered 429 for a minute; wait and run the same command again: "
        "nothing committed is lost"
    )


def test_reading_rides_out_a_bad_spell(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = large_text()
    s3.put("x.jsonl", text)
    faults = Faults(unavailable=0.3, dropped=0.3, lost_replies=0.3, per_request=4, seed=5)
    with FaultProxy(tmp_path, s3.server.endpoint, faults) as proxy:
        use({"AWS_ENDPOINT_URL": proxy.endpoint}, monkeypatch)
        (source,) = list_sources(s3.uri)
        assert read(source) == text
        assert len(proxy.disturbances()) >= 4


def test_an_unavailable_object_is_told_apart_from_damage(s3: Bucket) -> None:
    s3.put("x.zst", pa.compress(b"text", "zstd", asbytes=True))
    (source,) = list_sources(s3.uri)
    s3.put("x.zst", b"")
    with pytest.raises(ObjectUnavailable), open_source(source) as stream:
        stream.read1(10)


def test_a_document_names_its_object(s3: Bucket) -> None:
    s3.put("inbox/x.txt", b"text")
    (source,) = list_sources(s3.uri)
    assert list(read_documents(source, RowColumns(), 100)) == [
        Document("inbox/x.txt", f"s3://{s3.name}/inbox/x.txt", 0, "text")
    ]


def test_what_is_left_out_is_told_and_the_runs_own_output_is_not_its_input(inbox: Bucket) -> None:
    before = list_sources(f"{inbox.uri}/inbox")
    for name in ("out/run_x/job.yaml", "out/run_x/run.json", "out/run_x/results/part.parquet"):
        inbox.put(f"inbox/{name}", b"x")
    found = list_input(f"{inbox.uri}/inbox", OwnPlaces(f"{inbox.uri}/inbox/out/"))
    assert found.sources == before
    assert {each.path: each.reason for each in found.left_out} == {
        ".hidden.jsonl": "hidden", "_SUCCESS": "hidden", "_old/": "hidden", "2024/.cache/": "hidden",
        "2024/june/e.txt.part": "unfinished", "2024/june/F.TMP": "unfinished", "out/": "output",
    }  # fmt: skip
