"""Durable batch jobs over HTTP: what users of Fanfold may rely on.

The client, its errors, and what a processor needs are imported from here. Everything below,
`fanfold.app` and the like, is Fanfold's own and may change with any release.

What is named here is loaded when it is first used, so a worker does not load the client, nor
the client what workers need.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanfold.client.http import Fanfold as Fanfold
    from fanfold.processing import ItemDropped as ItemDropped
    from fanfold.processing import ProcessorContext as ProcessorContext
    from fanfold.processing import RetryLater as RetryLater
    from fanfold.processing import ValidationError as ValidationError

_HOMES = {
    "Fanfold": "fanfold.client.http",
    "ItemDropped": "fanfold.processing",
    "ProcessorContext": "fanfold.processing",
    "RetryLater": "fanfold.processing",
    "ValidationError": "fanfold.processing",
}

__all__ = ["Fanfold", "ItemDropped", "ProcessorContext", "RetryLater", "ValidationError"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fanfold' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
