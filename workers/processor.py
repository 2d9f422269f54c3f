"""Reads what user code is: a `Processor` or a `ReducerType`, once, when a worker starts.

What they are is described in `fanfold.processing`; users import it from `fanfold`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, get_type_hints

import pydantic
import pydantic_core

from fanfold.contract.pydantic_faults import summary
from fanfold.processing import HasExample, HasName, ProcessorContext, Reducer, ValidationError
from fanfold.workers.made_up import CannotMakeUp, made_up


class NotAProcessor(TypeError):
    """The object cannot serve as a processor or reducer; the message says why."""


class Processor:
    """A function found fit to process chunks, with what its signature says."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Read the signature; raises NotAProcessor where it does not fit."""
        self.function = function
        self.name: str = function.__name__
        self.is_async = inspect.iscoroutinefunction(function)
        parameters = list(inspect.signature(function).parameters.values())
        try:
            hints = get_type_hints(function, include_extras=True)
        except Exception as error:
            raise NotAProcessor(f"{self.name}: its annotations cannot be read: {error}") from error
        if not parameters or not _takes_data(parameters[0]):
            raise NotAProcessor(
                f"{self.name}: the first parameter must be named 'item' or 'chunk', "
                "which says what the processor takes"
            )
        self.takes_items = parameters[0].name == "item"
        self.context_parameter: str | None = None
        fields: dict[str, Any] = {}
        for parameter in parameters[1:]:
            if parameter.kind is not parameter.KEYWORD_ONLY:
                raise NotAProcessor(
                    f"{self.name}: parameter '{parameter.name}' must be keyword-only "
                    "(put a * before it): options are passed by name"
                )
            if hints.get(parameter.name) is ProcessorContext:
                self.context_parameter = parameter.name
                continue
            if parameter.name.startswith(("_", "model_")):
                raise NotAProcessor(
                    f"{self.name}: an option cannot be named '{parameter.name}': names that begin "
                    "with _ or model_ are taken by pydantic"
                )
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints.get(parameter.name, Any), default)
        self._data = self._checked(parameters[0].name, hints.get(parameters[0].name, Any))
        for name, (annotation, _) in fields.items():
            self._checked(name, annotation)
        self._options = pydantic.create_model(
            f"{self.name} options",
            __config__=pydantic.ConfigDict(extra="forbid", allow_inf_nan=False),
            **fields,
        )

    def _checked(self, parameter: str, annotation: Any) -> pydantic.TypeAdapter[Any]:  # noqa: ANN401
        """What checks values of this annotation; raises NotAProcessor where nothing can."""
        try:
            adapter = pydantic.TypeAdapter(annotation)
            adapter.json_schema()
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise NotAProcessor(
                f"{self.name}: parameter '{parameter}' is annotated with a type that JSON "
                f"cannot be checked against: {reason}"
            ) from error
        return adapter

    @property
    def description(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.function) or ""

    @cached_property
    def options_schema(self) -> dict[str, Any]:
        """JSON schema of the options object."""
        schema: dict[str, Any] = self._options.model_json_schema()
        return schema

    @property
    def takes(self) -> Literal["item", "chunk"]:
        """What the function is called with."""
        return "item" if self.takes_items else "chunk"

    @cached_property
    def item_schema(self) -> dict[str, Any] | None:
        """JSON schema of an item; None where any value will do, or a chunk is no plain list."""
        # What an author adds to a schema may be no JSON.
        schema: dict[str, Any] = pydantic_core.to_jsonable_python(
            self._data.json_schema(), fallback=str
        )
        if not self.takes_items:
            items = schema.get("items") or {}
            schema = {**items, **({"$defs": schema["$defs"]} if "$defs" in schema else {})}
        return schema or None

    @property
    def example(self) -> dict[str, Any] | None:
        """A job that uses it: the one given with `@example`, or the plainest that its types allow.

        None where no such job can be made up.
        """
        given = _example_of(self.function)
        if given is not None:
            return {"processor": self.name, **given}
        try:
            items = [made_up(self.item_schema)] if self.item_schema else [1, 2, 3]
            options = made_up(self.options_schema)
        except CannotMakeUp:
            return None
        if not all(map(self._is_accepted, items if self.takes_items else [items], [options])):
            return None
        job = {"processor": self.name, "items": items}
        return {**job, "options": options} if options else job

    def _is_accepted(self, data: object, options: dict[str, Any]) -> bool:
        """Whether these fit the published schemas, and then the function."""
        try:
            # Strict is what the schemas say: a number in a string is none.
            self._data.validate_json(pydantic_core.to_json(data), strict=True)
            self._options.model_validate_json(pydantic_core.to_json(options), strict=True)
            self.check_data(data)
            self.check_options(options)
        except Exception:  # noqa: BLE001 - a validator of the author's may raise anything
            return False
        return True

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as keyword arguments, with defaults; raises ValidationError."""
        try:
            model = self._options.model_validate(options)
        except pydantic.ValidationError as error:
            raise ValidationError(summary(error, options)) from None
        return {name: getattr(model, name) for name in type(model).model_fields}

    def check_data(self, value: Any) -> Any:  # noqa: ANN401 - what the annotation says
        """The item or chunk as the function's annotation wants it; raises ValidationError."""
        try:
            return self._data.validate_python(value)
        except pydantic.ValidationError as error:
            raise ValidationError(summary(error, value)) from None


class ReducerType:
    """A class found fit to fold results, with what it says of itself."""

    def __init__(self, reducer: type[Reducer]) -> None:
        """Read what it has; raises NotAProcessor where its name is none."""
        name = _name_of(reducer, reducer.__name__)
        if not isinstance(name, str):
            raise NotAProcessor(f"{reducer.__name__}: 'name' must be a string, set on the class")
        self.name = name
        self.new: Callable[[], Reducer] = reducer
        self.description = inspect.getdoc(reducer) or ""
        self.options_schema = {"type": "object", "properties": {}, "additionalProperties": False}
        """JSON schema of the options object: a reducer takes none."""
        plainest = {"items": [1], "processor": "double"}
        self.example = {"reducer": self.name, **(_example_of(reducer) or plainest)}
        """A job that uses it: the one given with `@example`, or the plainest possible."""


def _name_of(code: object, otherwise: str) -> object:
    """What the code has as its name, which may be anything: a property, say."""
    return code.name if isinstance(code, HasName) else otherwise


def _example_of(code: object) -> dict[str, Any] | None:
    return code.example if isinstance(code, HasExample) else None


def _takes_data(parameter: inspect.Parameter) -> bool:
    kinds = {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    return parameter.name in {"item", "chunk"} and parameter.kind in kinds
