"""Checks the names and options in a job by what the workers have published."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, NoReturn

from jsonschema.protocols import Validator

from fanfold.contract.wording import did_you_mean
from fanfold.intake.faults import Path, pointer, refuse, refuse_all
from fanfold.intake.schema_faults import faults_in
from fanfold.intake.schema_language import validator_for
from fanfold.intake.tree import Node
from fanfold.intake.validation import MAX_REPORTED_FAULTS, steps_in
from fanfold.ledger.catalog import Catalog, Kind, Published

CheckedStep = tuple[Path, str, Mapping[str, Any] | None]
"""As in `validation.Step`; options None: no job runs with them, and they may be incomplete."""


@dataclass(frozen=True, slots=True)
class PublishedCode:
    """The processors and reducers that the workers have."""

    processors: Published
    reducers: Published


async def published_code(catalog: Catalog) -> PublishedCode:
    """What the workers have now. Raises LedgerUnavailable."""
    return PublishedCode(
        await catalog.published(Kind.PROCESSOR), await catalog.published(Kind.REDUCER)
    )


def check_names(nodes: Sequence[Node], code: PublishedCode) -> None:
    """Refuse names and options that the workers' published catalog does not know.

    Before the first worker has published anything, nothing can be said; then the
    workers decide. Raises InvalidJob.
    """
    check_processors(_steps_in(nodes), code.processors)
    if not code.reducers.is_known:
        return
    for node in nodes:
        reducer = node.asked.reducer
        if reducer is not None and reducer not in code.reducers.entries:
            place = pointer(*node.path, "reducer")
            _refuse_name("unknown_reducer", "reducer", place, reducer, code.reducers)


def _steps_in(nodes: Sequence[Node]) -> Iterator[CheckedStep]:
    for node in nodes:
        is_handed_on = node.is_handed_on
        for path, name, options in steps_in(node):
            yield path, name, options if is_handed_on else None


def check_processors(steps: Iterable[CheckedStep], processors: Published) -> None:
    """Of `check_names`, what is about processors."""
    if not processors.is_known:
        return
    # Thousands of sub-jobs may say the same.
    validators: dict[str, Validator] = {}
    good: set[tuple[str, str]] = set()
    for path, name, options in steps:
        said = name, repr(options)
        if said in good:
            continue
        if name not in processors.entries:
            place = pointer(*path, "processor")
            _refuse_name("unknown_processor", "processor", place, name, processors)
        if options is None:
            continue
        if name not in validators:
            validators[name] = validator_for(processors.entries[name])
        found = faults_in(options, validators[name], (*path, "options"))
        if faults := list(dict.fromkeys(islice(found, MAX_REPORTED_FAULTS))):
            refuse_all("invalid_options", faults)
        good.add(said)


def _refuse_name(code: str, kind: str, place: str, name: str, known: Published) -> NoReturn:
    if name in known.gone:
        gone_for = _in_words(known.gone[name])
        refuse(code, place, f"no worker has had this {kind} for {gone_for}; start one that has it")
    near = did_you_mean(name, known.entries)
    # After a question mark a new sentence begins.
    see = f"GET /{kind}s lists those there are"
    refuse(code, place, f"no worker has a {kind} of this name{near}{' ' if near else '; '}{see}")


def _in_words(duration: timedelta) -> str:
    """In the largest unit of which it has at least two."""
    for unit in ("days", "hours"):
        count = duration // timedelta(**{unit: 1})
        if count > 1:
            return f"{count} {unit}"
    minutes = duration // timedelta(minutes=1)
    return f"{minutes} minute{'s' * (minutes != 1)}"
