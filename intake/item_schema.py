"""Checks items by the schema that a job's first processor declares, where the job asks for it.

The schema is the one that GET /processors shows. The worker's own check is more lenient at
some places: to pydantic the string "4.5" will do for a number.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import jsonschema

from fanfold.contract import json_values
from fanfold.contract.job_spec import JobSpec
from fanfold.intake.faults import Fault, Path, pointer, refuse, refuse_all
from fanfold.intake.job_request import JobBody
from fanfold.intake.schema_faults import each_once, faults_of
from fanfold.intake.schema_language import validator_of
from fanfold.intake.tree import Node
from fanfold.intake.validation import MAX_REPORTED_FAULTS
from fanfold.ledger.catalog import Catalog, Kind, Published

Place = Callable[[int], str]
"""Says where the n-th of these texts was, as the start of a message: `line 18: `."""


class ItemSchema:
    """The schema that items have to fit: of items that several processors get, that of each."""

    def __init__(self, *schemas: Mapping[str, Any], of: Sequence[str] = ()) -> None:
        """Make it ready to check many items; where there are several, `of` are the processors."""
        several = of if len(schemas) > 1 else [""] * len(schemas)
        self._validators = [
            (f"for the processor {name}: " if name else "", validator_of(schema, are_items=True))
            for name, schema in zip(several, schemas, strict=True)
        ]

    def check(self, job: JobBody, path: Path = ()) -> None:
        """Refuse the job where an item in its body does not fit; raises InvalidJob.

        `path` is where in the body of the request the job stands.
        """
        self.check_values(_items_of(job, path))

    def check_values(self, values: Iterable[tuple[Path, Any]]) -> None:
        """Refuse those of these that do not fit, each with its place; raises InvalidJob."""
        _refuse_if_any(fault for path, item in values for fault in self._faults(item, path))

    def check_texts(
        self, texts: Sequence[bytes], first: int, place: Place, *, are_rows: bool = False
    ) -> None:
        """Refuse the first of these items that do not fit; raises InvalidJob.

        They are JSON texts, known to be good; `first` is the first one's index among the items.
        Rows of a CSV table hold strings alone, which is told where another type is wanted.
        """
        items = json_values.decode(b"[" + b",".join(texts) + b"]")
        _refuse_if_any(
            fault
            for offset, item in enumerate(items)
            for fault in self._faults(
                item,
                ("items", first + offset),
                before=partial(place, offset),
                are_rows=are_rows,
            )
        )

    def _faults(
        self,
        item: Any,  # noqa: ANN401 - any JSON value
        path: Path,
        *,
        before: Callable[[], str] = str,
        are_rows: bool = False,
    ) -> Iterator[Fault]:
        for whose, validator in self._validators:
            try:
                errors = sorted(each_once(validator.iter_errors(item)), key=_place_of)
            except (RecursionError, OverflowError):
                what = "is nested too deep, or holds too large a number, to be checked"
                yield Fault(pointer(*path), before() + what)
                return
            found = (fault for error in errors for fault in faults_of(error, what="field"))
            for place, message in dict.fromkeys(found):
                is_of_csv = are_rows and message.endswith(", not a string")
                more = ": in CSV every value is a string" if is_of_csv else ""
                yield Fault(pointer(*path, *place), f"{before()}{whose}{message}{more}")


def asked_for(node: Node, getting: Iterable[Node], processors: Published) -> ItemSchema | None:
    """What the data of this job is to be checked by: those that get it say what items are.

    Raises InvalidJob where there is no schema.
    """
    if not node.whole.check_items:
        return None
    return _declared((one.stages[0].processor for one in getting), processors, node.path)


async def remembered(
    spec: JobSpec, getting: Iterable[JobSpec], catalog: Catalog
) -> ItemSchema | None:
    """The same for data that comes after its job."""
    if not spec.check_items:
        return None
    names = (one.stages[0].processor for one in getting)
    return _declared(names, await catalog.published(Kind.PROCESSOR), ())


def _declared(names: Iterable[str], processors: Published, path: Path) -> ItemSchema:
    schemas = {name: _schema_of(name, processors, path) for name in dict.fromkeys(names)}
    return ItemSchema(*schemas.values(), of=list(schemas))


def _schema_of(processor: str, processors: Published, path: Path) -> Mapping[str, Any]:
    entry, asked = processors.entries.get(processor), pointer(*path, "check_items")
    if entry is None:
        refuse(
            "item_schema_unknown",
            asked,
            f"the items cannot be checked: no worker has published the processor {processor}; "
            "start one that has it, or leave check_items out",
        )
    if entry.item_schema is None:
        refuse(
            "item_schema_unknown",
            asked,
            f"the items cannot be checked: the processor {processor} declares no item schema; "
            "leave check_items out, or annotate the processor's first parameter",
        )
    return entry.item_schema


def _items_of(job: JobBody, path: Path) -> Iterator[tuple[Path, Any]]:
    for index, item in enumerate(job.items or []):
        yield (*path, "items", index), item
    for chunk, items in enumerate(job.chunks or []):
        for index, item in enumerate(items):
            yield (*path, "chunks", chunk, index), item


def _place_of(error: jsonschema.ValidationError) -> list[str | int]:
    return list(error.absolute_path)


def _refuse_if_any(faults: Iterable[Fault]) -> None:
    found = list(islice(faults, MAX_REPORTED_FAULTS))
    if found:
        refuse_all("item_schema_mismatch", found)
