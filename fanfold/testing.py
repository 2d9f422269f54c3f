"""Tests for a processor: `run` calls it as a worker does, and checks what a worker checks."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fanfold.contract import json_values
from fanfold.processing import ProcessorContext
from fanfold.workers.processor import Processor
from fanfold.workers.results import Unusable, encode


def run(
    processor: Callable[..., Any],
    items: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    item_key: str | None = None,
    attempt: int = 1,
) -> Any:  # noqa: ANN401 - any JSON value
    """What the processor gives for a chunk of these items: what a job would show as its result.

    `items`, `options` and `item_key` are as in the body of a job. An item processor is called
    for each item, and gives a list; a chunk processor is called once. An async one is awaited.

    Raises what the processor raises, ValidationError where an option or an item is not what the
    signature says, and TypeError where the function is no processor or its result is not JSON.
    """
    read = Processor(processor)
    arguments = read.check_options(options or {})
    context = ProcessorContext(job_id="job_test", chunk_index=0, attempt=attempt)

    def call(value: Any, context: ProcessorContext) -> Any:  # noqa: ANN401 - any JSON value
        given = {read.context_parameter: context} if read.context_parameter else {}
        result = processor(read.check_data(value), **arguments, **given)
        return _as_json(asyncio.run(result) if read.is_async else result)

    if not read.takes_items:
        return call(items, context)
    return [
        call(item, dataclasses.replace(context, item_index=index, item_key=_key(item, item_key)))
        for index, item in enumerate(items)
    ]


def _key(item: Any, name: str | None) -> Any:  # noqa: ANN401 - any JSON value
    return item.get(name) if name is not None and isinstance(item, dict) else None


def _as_json(result: Any) -> Any:  # noqa: ANN401 - what user code returned
    try:
        return json_values.decode(encode(result))
    except Unusable as error:
        raise TypeError(str(error)) from error
