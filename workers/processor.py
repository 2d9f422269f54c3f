"""Reads what user code is: a `Processor` or a `ReducerType`, once, when a worker starts.

What they are is described in `fanfold.processing`; users import it from `fanfold`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, get_type_hints

import pydantic

from fanfold.processing import HasExample, HasName, ProcessorContext, Reducer, ValidationError


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
    def example(self) -> dict[str, Any]:
        """A job that uses it: the one given with `@example`, or the plainest possible."""
        return {"processor": self.name, **_example_of(self.function, {"items": [1, 2, 3]})}

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as keyword arguments, with defaults; raises ValidationError."""
        try:
            model = self._options.model_validate(options)
        except pydantic.ValidationError as error:
            raise ValidationError(_summary(error)) from None
        return {name: getattr(model, name) for name in type(model).model_fields}

    def check_data(self, value: Any) -> Any:  # noqa: ANN401 - what the annotation says
        """The item or chunk as the function's annotation wants it; raises ValidationError."""
        try:
            return self._data.validate_python(value)
        except pydantic.ValidationError as error:
            raise ValidationError(_summary(error)) from None


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
        self.example = {"reducer": self.name, **_example_of(reducer, plainest)}
        """A job that uses it: the one given with `@example`, or the plainest possible."""


def _name_of(code: object, otherwise: str) -> object:
    """What the code has as its name, which may be anything: a property, say."""
    return code.name if isinstance(code, HasName) else otherwise


def _example_of(code: object, otherwise: dict[str, Any]) -> dict[str, Any]:
    return code.example if isinstance(code, HasExample) else otherwise


def _takes_data(parameter: inspect.Parameter) -> bool:
    kinds = {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    return parameter.name in {"item", "chunk"} and parameter.kind in kinds


def _summary(error: pydantic.ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'the value'}: {fault['msg']}"
        for fault in error.errors(include_input=False, include_url=False)[:5]
    )
