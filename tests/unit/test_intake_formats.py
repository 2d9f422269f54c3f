"""NDJSON, CSV and JSON arrays: the same items however they arrive, faults with their places."""

import csv
import gzip
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.app.http.errors import UnsupportedMediaType
from fanfold.app.intake.items.formats import Encoded, Format, recognise
from fanfold.app.intake.items.parsing import chunks_of
from fanfold.intake.cutting import Cut
from tests.unit.any_json import exactly, storable_text, values
from tests.unit.intake import LIMITS, items, limits, read, refusal

lists = st.lists(values, min_size=1, max_size=8)
piece_sizes = st.one_of(st.integers(1, 9), st.just(1 << 20))


@given(lists, piece_sizes, st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n \t\n"]))
def test_ndjson_gives_every_line_as_an_item(
    given_items: list[Any], size: int, is_gzip: bool, ending: str
) -> None:
    data = ending.join(json.dumps(item) for item in given_items).encode()
    data = gzip.compress(data) if is_gzip else data
    got = items(data, Format.NDJSON, piece_bytes=size, is_gzip=is_gzip, is_whole=False)
    assert exactly(got) == exactly(given_items)


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("data", "count"), [(b"[1,2,3]", 3), (b'\n [{"a": 1}, {"a": 2}] \n\n', 2), (b"[[1],[2]]\n", 2)]
)
def test_a_single_line_with_an_array_is_no_ndjson_but_json(
    data: bytes, count: int, size: int
) -> None:
    status, code, place, message = refusal(data, Format.NDJSON, piece_bytes=size)
    assert (status, code, place) == (422, "invalid_item", "/items")
    assert message == (
        f"the only line is an array of {count} values; if it holds all items, send it as "
        "application/json (a file as .json): in NDJSON each line is one item"
    )


@pytest.mark.parametrize("data", [b"[]", b"[1]\n", b"[[1,2]]", b"[1,2]\n[3,4]\n", b'"[1,2]"'])
def test_arrays_that_may_well_be_items_are_taken(data: bytes) -> None:
    assert items(data, Format.NDJSON) == [json.loads(line) for line in data.splitlines()]


def test_the_rest_of_a_job_in_parts_may_be_one_array() -> None:
    assert items(b"[1,2,3]\n", Format.NDJSON, is_whole=False) == [[1, 2, 3]]


def test_a_single_array_is_sent_as_json() -> None:
    assert items(b"[[1,2,3]]", Format.JSON) == [[1, 2, 3]]


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("data", [b'[\n{"a": 1},\n{"a": 2}\n]', b"[" + b"1," * 40 + b"1]"])
def test_an_array_over_several_lines_or_over_the_limit_gets_the_same_hint(
    data: bytes, size: int
) -> None:
    within = limits(max_item_bytes=60)
    _, _, place, message = refusal(data, Format.NDJSON, piece_bytes=size, within=within)
    assert place == "/items/0"
    assert "the line begins an array: if it holds all items, send it as application/json" in message


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "vertical bar")]
)
def test_a_table_without_commas_is_refused_with_the_separator_found(
    separator: str, name: str
) -> None:
    data = f"a{separator}b\n1{separator}2\n".encode()
    message = (
        f"line 1: the header is a single column with a {name} in its name: the columns have to "
        "be separated by commas. If it is one column, put the name in quotes"
    )
    assert refusal(data, Format.CSV) == (422, "invalid_item", "/items", message)


@pytest.mark.parametrize("header", ['"a;b"', '"a\nb;c"', "a", "a b", "a:b", "a;b,c"])
def test_other_headers_are_taken(header: str) -> None:
    row = "1,2" if "," in header else "1"
    assert len(items(f"{header}\n{row}\n".encode(), Format.CSV)) == 1


@given(lists, piece_sizes, st.booleans(), st.sampled_from([None, 1, "\r\n\t"]))
def test_a_json_array_gives_every_element_as_an_item(
    given_items: list[Any], size: int, is_gzip: bool, indent: Any
) -> None:
    data = json.dumps(given_items, ensure_ascii=False, indent=indent).encode()
    data = gzip.compress(data) if is_gzip else data
    got = items(data, Format.JSON, piece_bytes=size, is_gzip=is_gzip)
    assert exactly(got) == exactly(given_items)


rows = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(storable_text, min_size=width, max_size=width), min_size=1, max_size=6
    )
)


@given(rows, piece_sizes, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "%s", "ä\n,"]))
def test_csv_gives_every_row_as_an_object_of_strings(
    given_rows: list[list[str]], size: int, ending: str, suffix: str
) -> None:
    names = [f"name {number}{suffix}" for number in range(len(given_rows[0]))]
    written = io.StringIO()
    csv.writer(written, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows(
        [names, *given_rows]
    )
    got = items(written.getvalue().encode(), Format.CSV, piece_bytes=size)
    assert got == [dict(zip(names, row, strict=True)) for row in given_rows]


def test_items_keep_their_text() -> None:
    text = b'{"a" : 1.50, "a":\t"\\u00e4\\/", "n":123456789012345678901234567890}'
    for which, data in ((Format.NDJSON, text + b" \r\n"), (Format.JSON, b"[ " + text + b"\n]")):
        blocks, encoded = iter([data]), Encoded(which, is_gzip=False)
        (chunk,) = chunks_of(blocks, encoded, Cut(1000, None), LIMITS)
        assert chunk.body == b"[" + text + b"]"


@pytest.mark.parametrize("which", list(Format))
@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_byte_order_mark_is_skipped(which: Format, size: int) -> None:
    data = {Format.NDJSON: "1", Format.CSV: "a\n1", Format.JSON: "[1]"}[which]
    got = items(b"\xef\xbb\xbf" + data.encode(), which, piece_bytes=size)
    assert got == ([{"a": "1"}] if which is Format.CSV else [1])


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        (b"1\n\n{]\n2", "/items/1", "line 3, column 2: not JSON: the name of a field"),
        (b"1\r2\n", "/items/0", "line 1, column 3: not JSON: there is more text"),
        (b'1\n"\xff"', "/items/1", "line 2: not JSON: the text is not UTF-8 at byte 1"),
        (b"1\n[NaN]", "/items/1", "line 2, column 2: not JSON: NaN is not a JSON number"),
        (b"1,2\n[3\n4]", "/items/0", "line 1, column 2: not JSON: there is more text"),
    ],
)
def test_a_bad_line_is_named(data: bytes, place: str, message: str, size: int) -> None:
    status, code, at, what = refusal(data, Format.NDJSON, piece_bytes=size)
    assert (status, code, at) == (422, "invalid_item", place)
    assert what.startswith(message)


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        (b"a,b\n1,2\n3\n", "/items/1", "line 3: 1 field, where the header has 2"),
        (b"a,b\n\n1,2,3\n", "/items/0", "line 3: 3 fields, where the header has 2"),
        (b"a,a\n1,2", "/items", "line 1: the header has the same name more than once"),
        (b'a\n"1\n2"\n"3', "/items/1", "line 4: a quote is opened and never closed"),
        (b'a\n"1"x\n', "/items/0", "line 2: a quote within a field in quotes has to be doubled"),
        (b"a\n1\r2\n", "/items/0", "line 2: a carriage return that is not before a line's end"),
        (b'a\n"1\n\xff"', "/items/0", "line 3: the text is not UTF-8"),
    ],
)
def test_a_bad_row_is_named(data: bytes, place: str, message: str, size: int) -> None:
    assert refusal(data, Format.CSV, piece_bytes=size) == (422, "invalid_item", place, message)


def test_a_nul_in_a_row_is_refused() -> None:
    status, code, place, _ = refusal(b"a\n1\0", Format.CSV)
    assert (status, code, place) == (422, "invalid_value", "/items/0")


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"{}", "/items"),
        (b"", "/items"),
        (b"[1] 2", "/items"),
        (b"[1,]", "/items/1"),
        (b"[1 2]", "/items/0"),
        (b"[1,{]", "/items/1"),
        (b"[1", "/items/0"),
        (b"[1,", "/items/1"),
        (b'[1,"a', "/items/1"),
        (b"[1,NaN]", "/items/1"),
        (b'["\xff"]', "/items/0"),
        (b"[" + b"[" * 100_000, "/items/0"),
        (b"[1, " + b"2" * 30_000 + b"]", "/items/1"),
    ],
)
def test_a_bad_element_is_named(data: bytes, place: str, size: int) -> None:
    if size == 1 and len(data) > 50_000:
        size = 4096
    status, code, at, _ = refusal(data, Format.JSON, piece_bytes=size)
    assert (status, code, at) == (422, "invalid_item", place)


@pytest.mark.parametrize("which", list(Format))
@pytest.mark.parametrize("size", [100, 1 << 20])
def test_an_item_over_the_limit_is_refused_before_it_is_whole(which: Format, size: int) -> None:
    endless = b"x" * 100_000
    data = {
        Format.NDJSON: b'1\n"' + endless,
        Format.CSV: b"a\n1\n" + endless,
        Format.JSON: b'[1,"' + endless,
    }[which]
    status, code, place, message = refusal(
        data, which, piece_bytes=size, within=limits(max_item_bytes=1000)
    )
    assert (status, code, place) == (422, "limit_exceeded", "/items/1")
    assert "at most 1000 bytes an item are allowed (FANFOLD_MAX_ITEM_BYTES)" in message


@pytest.mark.parametrize("which", list(Format))
def test_no_items_make_no_chunks(which: Format) -> None:
    data = {Format.NDJSON: b"\n \n", Format.CSV: b"a,b\n", Format.JSON: b" [ ] "}[which]
    assert read(data, which) == []


def test_deep_and_overflowing_items_are_refused_as_in_a_json_job() -> None:
    deep = b"[" * 65 + b"]" * 65
    assert refusal(b"1\n" + deep, Format.NDJSON)[1:3] == ("limit_exceeded", "/items/1")
    assert refusal(b"[1," + deep + b"]", Format.JSON)[1:3] == ("limit_exceeded", "/items/1")
    assert refusal(b"[1,[1e999]]", Format.JSON)[1:3] == ("invalid_value", "/items/1/0")
    assert refusal(rb'{"a":"\ud800"}', Format.NDJSON)[1:3] == ("invalid_value", "/items/0/a")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (("application/x-ndjson", "", ""), Encoded(Format.NDJSON, is_gzip=False)),
        (("application/jsonl; charset=UTF-8", "gzip", ""), Encoded(Format.NDJSON, is_gzip=True)),
        (("text/csv; charset=utf-8; header=present", "", "x"), Encoded(Format.CSV, is_gzip=False)),
        (("application/json", "", "x.csv.gz"), Encoded(Format.JSON, is_gzip=True)),
        (("application/octet-stream", "", "A.NDJSON.GZ"), Encoded(Format.NDJSON, is_gzip=True)),
        (("", "", "a.jsonl"), Encoded(Format.NDJSON, is_gzip=False)),
        (("application/gzip", "", "a.csv"), Encoded(Format.CSV, is_gzip=True)),
        (("", "x-gzip", "a.b.json"), Encoded(Format.JSON, is_gzip=True)),
    ],
)
def test_the_format_is_told_by_the_headers_or_the_name(
    headers: tuple[str, str, str], expected: Encoded
) -> None:
    assert recognise(*headers) == expected


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (("text/plain", "", "a.csv"), "unsupported_media_type"),
        (("", "", ""), "unsupported_media_type"),
        (("application/gzip", "", "a.gz"), "unsupported_media_type"),
        (("text/csv; charset=latin-1", "", ""), "unsupported_media_type"),
        (("text/csv", "br", ""), "unsupported_content_encoding"),
    ],
)
def test_what_tells_no_format_is_refused(headers: tuple[str, str, str], code: str) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        recognise(*headers)
    assert refused.value.code == code


@pytest.mark.parametrize("which", Format)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(b"1\n", mtime=0), "compressed with gzip, and nothing says so"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        ("[1]".encode("utf-16"), "in UTF-16: send it in UTF-8"),
        (b"\xfe\xff\x00[", "in UTF-16: send it in UTF-8"),
    ],
)
def test_what_is_no_text_is_called_by_its_name(which: Format, data: bytes, words: str) -> None:
    status, code, place, message = refusal(data, which)
    assert (status, code, place) == (422, "invalid_item", "/items")
    assert words in message


def test_what_was_compressed_twice_is_called_so() -> None:
    twice = gzip.compress(gzip.compress(b"1\n"))
    assert "compressed with gzip" in refusal(twice, Format.NDJSON, is_gzip=True)[3]


@pytest.mark.parametrize("data", [b'{"a":1}\n{"a":2}\n', b'[{"a":1}]', b'[{"a":1},{"a":2}]'])
def test_json_in_place_of_a_table_is_no_header(data: bytes) -> None:
    status, code, place, message = refusal(data, Format.CSV)
    assert (status, code, place) == (422, "invalid_item", "/items")
    assert message.startswith("line 1: the header begins like JSON: ")


def test_a_column_may_have_a_name_like_json_in_quotes() -> None:
    assert items(b'"[a]"\n1\n', Format.CSV) == [{"[a]": "1"}]


def test_an_object_over_several_lines_is_no_ndjson() -> None:
    message = refusal(b'{\n"a": 1\n}\n', Format.NDJSON)[3]
    assert message.endswith("; in NDJSON each line is one whole item")


def test_a_table_without_a_header_is_not_read() -> None:
    with pytest.raises(UnsupportedMediaType, match="first row with the names of its columns"):
        recognise("text/csv; header=absent", "")
    assert recognise("text/csv; header=present", "") == Encoded(Format.CSV, is_gzip=False)
