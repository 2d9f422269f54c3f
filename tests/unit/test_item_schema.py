"""Items against the schema that a processor declares: the faults, each with its place."""

import json
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal

import pydantic
import pytest

from fanfold.app.intake.items import decompression
from fanfold.app.intake.items.formats import Encoded, Format
from fanfold.app.intake.items.parsing import chunks_of
from fanfold.intake.cutting import Cut
from fanfold.intake.faults import Fault, InvalidJob
from fanfold.intake.item_schema import ItemSchema, asked_for
from fanfold.intake.job_request import JobRequest
from fanfold.intake.tree import tree_of
from fanfold.ledger.catalog import CatalogEntry, Published
from fanfold.workers.processor import Processor
from tests.unit.intake import LIMITS, read


class Line(pydantic.BaseModel):
    sku: str
    count: Annotated[int, pydantic.Field(ge=1)]


class Order(pydantic.BaseModel):
    id: Annotated[str, pydantic.Field(pattern=r"^[A-Z]{3}\d+$")]
    net: float
    lines: list[Line] = []


def ship(item: Order, *, carrier: Literal["post", "bike"] = "post") -> str:
    return f"{item.id} by {carrier}"


def weigh(chunk: list[Order]) -> float:
    return sum(order.net for order in chunk)


def anything(item: Any) -> Any:
    return item


GOOD = {"id": "ABC1", "net": 4.5, "lines": [{"sku": "a", "count": 1}]}


def schema_of(annotation: Any) -> ItemSchema:
    return ItemSchema(pydantic.TypeAdapter(annotation).json_schema())


ORDERS = schema_of(Order)


def entry(function: Any) -> CatalogEntry:
    processor = Processor(function)
    return CatalogEntry(
        name=processor.name,
        description="",
        options_schema=processor.options_schema,
        example=None,
        item_schema=processor.item_schema,
    )


KNOWN = Published({code.__name__: entry(code) for code in (ship, weigh, anything)})


def places(faults: tuple[Fault, ...]) -> list[str]:
    return [fault.pointer for fault in faults]


def refused(job: dict[str, Any], by: ItemSchema = ORDERS) -> tuple[Fault, ...]:
    with pytest.raises(InvalidJob) as refusal:
        by.check(JobRequest.model_validate({"processor": "ship", **job}))
    assert refusal.value.code == "item_schema_mismatch"
    return refusal.value.errors


def schema_asked_for(job: dict[str, Any], known: Published = KNOWN) -> ItemSchema | None:
    root, *_ = tree_of(JobRequest.model_validate({**job, "items": [1]}))
    return asked_for(root, [root], known)


def fits(item: Any, annotation: Any) -> bool:
    job = JobRequest.model_validate({"processor": "ship", "items": [item]})
    try:
        schema_of(annotation).check(job)
    except InvalidJob:
        return False
    return True


def refused_texts(data: bytes, which: Format) -> tuple[Fault, ...]:
    with pytest.raises(InvalidJob) as refusal:
        read(data, which, schema=ORDERS)
    assert refusal.value.code == "item_schema_mismatch"
    return refusal.value.errors


def test_items_that_fit_pass_however_they_come() -> None:
    ORDERS.check(JobRequest.model_validate({"processor": "ship", "items": [GOOD] * 3}))
    ORDERS.check(JobRequest.model_validate({"processor": "ship", "chunks": [[GOOD], [GOOD]]}))
    text = json.dumps(GOOD).encode()
    assert read(text + b"\n" + text, Format.NDJSON, schema=ORDERS) == [[GOOD, GOOD]]
    assert read(b"[" + text + b"]", Format.JSON, schema=ORDERS) == [[GOOD]]


def test_a_fault_has_the_place_of_the_value_in_the_job() -> None:
    bad = {**GOOD, "lines": [{"sku": "a", "count": 1}, {"sku": "b", "count": "2"}]}
    assert places(refused({"items": [GOOD, bad]})) == ["/items/1/lines/1/count"]
    assert places(refused({"chunks": [[GOOD], [GOOD, bad]]})) == ["/chunks/1/1/lines/1/count"]


def test_of_many_faults_the_first_twenty_are_told_in_order() -> None:
    bad = {"id": 1, "net": "x"}
    faults = places(refused({"items": [GOOD, *[bad] * 100]}))
    assert len(faults) == 20
    assert faults[:3] == ["/items/1/id", "/items/1/net", "/items/2/id"]


def test_a_fault_in_a_line_begins_with_its_number() -> None:
    lines = [json.dumps(GOOD), "", json.dumps({**GOOD, "net": None})]
    (fault,) = refused_texts("\n".join(lines).encode(), Format.NDJSON)
    assert (fault.pointer, fault.message[:8]) == ("/items/1/net", "line 3: ")


def test_a_fault_in_a_json_array_has_its_index() -> None:
    (fault,) = refused_texts(json.dumps([GOOD, {**GOOD, "net": []}]).encode(), Format.JSON)
    assert fault.pointer == "/items/1/net"
    assert "line" not in fault.message


def test_in_csv_every_value_is_a_string_which_is_told() -> None:
    (fault,) = refused_texts(b'id,net\n"ABC1","4.5"\n', Format.CSV)
    assert (fault.pointer, fault.message[:8]) == ("/items/0/net", "line 2: ")
    assert fault.message.endswith(": in CSV every value is a string")


def test_a_table_of_strings_fits_a_schema_of_strings() -> None:
    rows = [{"id": f"ABC{number}", "note": 'a "b"'} for number in range(1200)]
    table = "id,note\n" + "".join(f'{row["id"]},"a ""b"""\n' for row in rows)
    schema = schema_of(dict[str, str])
    assert [row for chunk in read(table.encode(), Format.CSV, schema=schema) for row in chunk] == (
        rows
    )


def test_a_fault_far_down_a_table_is_told_with_the_line_where_its_row_begins() -> None:
    code = Annotated[str, pydantic.Field(pattern="^[A-Z]")]
    table = "id\n" + '"ABC\n1"\n' * 700 + '"abc\n1"\n'
    with pytest.raises(InvalidJob) as refusal:
        read(table.encode(), Format.CSV, schema=schema_of(dict[str, code]))
    (fault,) = refusal.value.errors
    assert (fault.pointer, fault.message[:11]) == ("/items/700/id", "line 1402: ")


def test_what_comes_after_a_fault_is_not_read() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"{}\n" + b"\n" * decompression.LEAST_BYTES
        raise AssertionError("it was read")

    made = chunks_of(
        blocks(), Encoded(Format.NDJSON, is_gzip=False), Cut(10, None), LIMITS, schema=ORDERS
    )
    with pytest.raises(InvalidJob):
        list(made)


@pytest.mark.parametrize(
    ("item", "annotation", "is_fit"),
    [
        (10**400, int, True),
        (1.0, int, True),
        ("4.5", float, False),
        (True, int, False),
        ("2026-01-31", date, True),
        ("2026-02-31", date, False),
        ("2026-01-31T12:00:00Z", datetime, True),
        ("2026-01-31t12:00:00z", datetime, True),
        ("2026-01-31T25:00:00Z", datetime, False),
        ("12:00", time, True),
        ("noon", time, False),
        ("12.50", Decimal, True),
        ("HEL", Annotated[str, pydantic.Field(pattern=r"^\p{Lu}{3}$")], True),
        ("hel", Annotated[str, pydantic.Field(pattern=r"^\p{Lu}{3}$")], False),
        ({"ä": 1}, dict[Annotated[str, pydantic.Field(pattern=r"^\p{L}$")], int], True),
        ({"ä": "1"}, dict[Annotated[str, pydantic.Field(pattern=r"^\p{L}$")], int], False),
        (None, Order | None, True),
        (5, Literal["5"], False),
    ],
)
def test_the_schema_decides(item: Any, annotation: Any, is_fit: bool) -> None:
    assert fits(item, annotation) is is_fit


def test_a_pattern_that_takes_exponential_time_elsewhere_does_not_here() -> None:
    assert not fits("a" * 50_000 + "b", Annotated[str, pydantic.Field(pattern="^(a+)+$")])


def test_a_pattern_that_only_python_reads_is_left_to_the_worker() -> None:
    by = ItemSchema({"type": "string", "pattern": "^(?!a)"})
    by.check(JobRequest.model_validate({"processor": "x", "items": ["a"]}))


def test_what_is_too_deep_to_be_checked_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    by = ItemSchema({"$defs": {"N": {"items": {"$ref": "#/$defs/N"}}}, "$ref": "#/$defs/N"})
    (fault,) = refused({"items": [nested]}, by)
    assert fault == Fault(
        "/items/0", "is nested too deep, or holds too large a number, to be checked"
    )


def test_a_job_that_does_not_ask_is_not_checked() -> None:
    assert schema_asked_for({"processor": "ship"}) is None


@pytest.mark.parametrize("processor", ["ship", "weigh"])
def test_the_first_stage_says_what_items_are(processor: str) -> None:
    job = {"stages": [{"processor": processor}, {"processor": "anything"}], "check_items": True}
    schema = schema_asked_for(job)
    assert schema is not None
    assert places(refused({"items": [GOOD, 5]}, schema)) == ["/items/1"]


@pytest.mark.parametrize(
    ("processor", "known", "what"),
    [
        ("anything", KNOWN, "the processor anything declares no item schema"),
        ("later", Published(), "no worker has published the processor later"),
    ],
)
def test_where_nothing_can_be_checked_the_job_is_refused(
    processor: str, known: Published, what: str
) -> None:
    job = {"processor": processor, "check_items": True}
    with pytest.raises(InvalidJob, match=what) as refusal:
        schema_asked_for(job, known)
    assert refusal.value.code == "item_schema_unknown"
    assert places(refusal.value.errors) == ["/check_items"]
