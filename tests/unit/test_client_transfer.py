"""The client with large bodies: files sent bit by bit, compressed answers expanded bit by bit."""

import gzip
import io
import json
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold import Refused, Unreachable
from fanfold.client.transfer import BrokenOff, Expander, Lines
from tests.unit.either_client import Connect
from tests.unit.gateway_double import Answer, Asked, serving
from tests.unit.test_client import a_child, a_job, always, parameters

MIB = 1024 * 1024
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "flights.ndjson.gz"
    path.write_bytes(gzip.compress(b"[1]\n" * 100_000, 0))
    return path


def form_of(asked: Asked) -> list[tuple[Any, ...]]:
    """Name, file name, media type and data of each part."""
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + asked.body)
    return [
        (
            part.get_param("name", header="Content-Disposition"),
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in form.iter_parts()
    ]


def test_a_file_of_items_is_sent_after_the_job(connect: Connect, items: Path) -> None:
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        job = fanfold.submit_file({"processor": "double"}, items)
    (asked,) = server.asked
    assert job.id == "job_1"
    assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert len(asked.headers["idempotency-key"]) >= 16
    assert form_of(asked) == [
        ("job", None, "application/json", b'{"processor": "double"}'),
        ("items", "flights.ndjson.gz", "application/octet-stream", items.read_bytes()),
    ]


def test_progress_goes_up_to_the_size_of_the_file(connect: Connect, items: Path) -> None:
    sent: list[int] = []
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        fanfold.submit_file({}, items, on_progress=sent.append)
    assert sent == sorted(sent)
    assert sent[-1] == items.stat().st_size
    assert len(set(sent)) > 3


def test_a_broken_connection_sends_the_whole_file_again_with_the_same_key(
    connect: Connect, items: Path
) -> None:
    answers = [Answer(None), Answer(202, a_job())]
    with serving(lambda _: answers.pop(0)) as server, connect(server.url) as fanfold:
        fanfold.submit_file(b"{}", items, idempotency_key="mine")
    first, second = server.asked
    assert form_of(first) == form_of(second)
    assert {asked.headers["idempotency-key"] for asked in server.asked} == {"mine"}


def test_a_stream_is_sent_under_the_name_that_is_given(connect: Connect) -> None:
    sent: list[int] = []
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        fanfold.submit_file(
            {}, io.BytesIO(b"[1]\n" * 50_000), file_name="a.ndjson", on_progress=sent.append
        )
    _, items = form_of(server.asked[0])
    assert items == ("items", "a.ndjson", "application/octet-stream", b"[1]\n" * 50_000)
    assert sent == sorted(sent)
    assert sent[-1] == 200_000


def test_a_stream_is_not_sent_a_second_time(connect: Connect) -> None:
    with (
        serving(lambda _: Answer(None)) as server,
        connect(server.url) as fanfold,
        pytest.raises(Unreachable),
    ):
        fanfold.submit_file({}, io.BytesIO(b"[1]\n"), file_name="a.ndjson")
    assert len(server.asked) == 1


def test_a_stream_without_a_name_is_told_before_anything_is_sent(connect: Connect) -> None:
    with connect("http://localhost:1") as fanfold, pytest.raises(TypeError, match="file_name"):
        fanfold.submit_file({}, io.BytesIO(b"[1]\n"))


def test_a_file_may_go_by_another_name(connect: Connect, items: Path) -> None:
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        fanfold.submit_file({}, items, file_name="export.ndjson.gz")
    assert form_of(server.asked[0])[1][1] == "export.ndjson.gz"


def test_a_file_that_is_not_there_is_told(connect: Connect, tmp_path: Path) -> None:
    with connect("http://localhost:1") as fanfold, pytest.raises(FileNotFoundError):
        fanfold.submit_file({}, tmp_path / "absent.csv")


def test_a_job_is_purged_with_an_answer_without_a_body(connect: Connect) -> None:
    with serving(lambda _: Answer(204, raw=b"")) as server, connect(server.url) as fanfold:
        fanfold.purge("job_1")
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("DELETE", "/jobs/job_1?purge=true")


def test_a_refused_purge_is_told(connect: Connect) -> None:
    problem = {"code": "job_not_finished", "detail": "cancel it"}
    with (
        serving(always(problem, 409)) as server,
        connect(server.url) as fanfold,
        pytest.raises(Refused, match="cancel it"),
    ):
        fanfold.purge("job_1")


def test_results_are_asked_for_compressed_and_expanded(connect: Connect) -> None:
    children = [json.dumps(a_child(index)).encode() for index in range(5_000)]
    body = gzip.compress(b"".join(line + b"\n" for line in children))
    with (
        serving(lambda _: Answer(raw=body, headers=GZIP)) as server,
        connect(server.url) as fanfold,
    ):
        assert [child.index for child in fanfold.results("job_1")] == list(range(5_000))
    assert server.asked[0].headers["accept-encoding"] == "gzip"


def test_csv_is_given_as_it_comes(connect: Connect) -> None:
    text = b"index,item\r\n0,0\r\n"
    with serving(lambda _: Answer(raw=text)) as server, connect(server.url) as fanfold:
        pieces = fanfold.result_bytes("job_1", state="failed", format="csv", columns=["a", "b"])
        assert b"".join(pieces) == text
    assert sorted(parameters(server.asked[0])) == [
        ("columns", "a,b"),
        ("format", "csv"),
        ("state", "failed"),
    ]


@pytest.mark.parametrize("cut", [1, 9, 100])
def test_a_compressed_answer_that_ends_too_early_is_not_taken_for_all_of_it(
    connect: Connect, cut: int
) -> None:
    body = gzip.compress(bytes(range(256)) * 10)[:-cut]
    with (
        serving(lambda _: Answer(raw=body, headers=GZIP)) as server,
        connect(server.url) as fanfold,
        pytest.raises(Unreachable, match="broke off"),
    ):
        list(fanfold.result_bytes("job_1"))


def expanded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    expander = Expander("gzip")
    for piece in pieces:
        yield from expander.feed(piece)
    yield from expander.end()


def test_what_is_no_gzip_is_told() -> None:
    with pytest.raises(BrokenOff):
        list(expanded([b"not compressed at all"]))


def test_a_little_that_expands_to_much_is_expanded_bit_by_bit() -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(compressor.compress(bytes(MIB)) for _ in range(200)) + compressor.flush()
    assert len(bomb) < MIB
    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in expanded([bomb]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 200 * MIB
    assert peak < 4 * MIB


def pieces_of(text: bytes, sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        yield text[:size]
        text = text[size:]
    yield text


@given(st.binary(max_size=2000), st.lists(st.integers(0, 50), max_size=50))
def test_however_it_is_cut_the_same_bytes_come_out(data: bytes, sizes: list[int]) -> None:
    assert b"".join(expanded(pieces_of(gzip.compress(data), sizes))) == data


@given(
    st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)),
    st.lists(st.integers(0, 9)),
)
def test_lines_are_put_together_from_pieces(lines: list[bytes], sizes: list[int]) -> None:
    text = b"".join(line + b"\n" for line in lines)
    reader = Lines()
    found = [line for piece in pieces_of(text, sizes) for line in reader.feed(piece)]
    assert [*found, *reader.end()] == lines
