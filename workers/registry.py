"""Finds processors and reducers by name: the built-in ones and the user's own."""

import importlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from fanfold.ledger.catalog import CatalogEntry, Kind
from fanfold.processing import Reducer
from fanfold.workers.processor import NotAProcessor, Processor, ReducerType
from fanfold.workers.processors.count_by import count_by
from fanfold.workers.processors.double import double
from fanfold.workers.processors.transform import transform
from fanfold.workers.processors.validate import validate
from fanfold.workers.processors.word_count import word_count
from fanfold.workers.reducers.collect import Collect
from fanfold.workers.reducers.merge import Merge
from fanfold.workers.reducers.merge_counts import MergeCounts
from fanfold.workers.reducers.sum import Sum

Code = TypeVar("Code", Processor, ReducerType)

BUILT_IN_PROCESSORS = (count_by, double, transform, validate, word_count)
BUILT_IN_REDUCERS = (Collect, Merge, MergeCounts, Sum)


class CannotLoad(Exception):
    """A name in FANFOLD_PROCESSORS cannot be used; the message says which and why."""


class Registry:
    """The processors and reducers that this worker knows."""

    def __init__(self, references: Iterable[str] = ()) -> None:
        """Take the built-in ones and those at `package.module:name`.

        Raises CannotLoad where one is not there, fails to import, or does not fit.
        """
        self.processors: dict[str, Processor] = {}
        self.reducers: dict[str, ReducerType] = {}
        for code in (*BUILT_IN_PROCESSORS, *BUILT_IN_REDUCERS):
            self._add(code)
        for reference in references:
            try:
                self._add(_load(reference))
            except NotAProcessor as error:
                raise CannotLoad(f"FANFOLD_PROCESSORS: {reference}: {error}") from error

    def entries(self) -> dict[Kind, list[CatalogEntry]]:
        """What clients may know of the processors and of the reducers."""
        return {
            Kind.PROCESSOR: [_entry(one) for one in self.processors.values()],
            Kind.REDUCER: [_entry(one) for one in self.reducers.values()],
        }

    def _add(self, code: Any) -> None:  # noqa: ANN401 - whatever the user named
        if inspect.isclass(code) and issubclass(code, Reducer):
            _enter(self.reducers, ReducerType(code))
        elif inspect.isfunction(code):
            _enter(self.processors, Processor(code))
        else:
            raise NotAProcessor(
                "it is neither a function (a processor) nor a class with add and result (a reducer)"
            )


def _enter(known: dict[str, Code], code: Code) -> None:
    if code.name in known:
        raise NotAProcessor(f"the name '{code.name}' is taken already")
    known[code.name] = code


def _entry(code: Processor | ReducerType) -> CatalogEntry:
    return CatalogEntry(
        name=code.name,
        description=code.description,
        options_schema=code.options_schema,
        example=code.example,
    )


def _load(reference: str) -> object:
    """The object at `package.module:name`, with an error for each way this can fail."""
    module_name, colon, name = reference.partition(":")
    if not (module_name and colon and name):
        raise CannotLoad(
            f"FANFOLD_PROCESSORS: '{reference}' is not of the form package.module:name"
        )
    # As with `python -m`, the user's package may lie in the directory they start from.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise CannotLoad(
                f"FANFOLD_PROCESSORS: {reference}: there is no module '{error.name}' "
                f"(looked in {here} and what is installed)"
            ) from error
        raise CannotLoad(
            f"FANFOLD_PROCESSORS: {reference}: '{module_name}' needs the module "
            f"'{error.name}', which is not installed"
        ) from error
    except (Exception, SystemExit) as error:
        raise CannotLoad(
            f"FANFOLD_PROCESSORS: {reference}: importing '{module_name}' failed: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, name):
        raise CannotLoad(f"FANFOLD_PROCESSORS: {reference}: '{module_name}' has no '{name}'")
    return getattr(module, name)
