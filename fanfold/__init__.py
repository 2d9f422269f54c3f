"""Durable batch jobs over HTTP: what users of Fanfold may rely on.

The client, its errors, and what a processor needs are imported from here; tests of a processor
have `fanfold.testing` besides. Everything else below, `fanfold.app` and the like, is Fanfold's
own and may change with any release.

What is named here is loaded when it is first used, so a worker does not load the client, nor
the client what workers need.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanfold.client.async_http import AsyncFanfold as AsyncFanfold
    from fanfold.client.errors import FanfoldError as FanfoldError
    from fanfold.client.errors import Refused as Refused
    from fanfold.client.errors import Unreachable as Unreachable
    from fanfold.client.errors import WaitTimeout as WaitTimeout
    from fanfold.client.http import Fanfold as Fanfold
    from fanfold.client.models import Attempt as Attempt
    from fanfold.client.models import Attempts as Attempts
    from fanfold.client.models import CatalogEntry as CatalogEntry
    from fanfold.client.models import Child as Child
    from fanfold.client.models import ChildState as ChildState
    from fanfold.client.models import ChunkCounts as ChunkCounts
    from fanfold.client.models import DryRun as DryRun
    from fanfold.client.models import ErrorGroup as ErrorGroup
    from fanfold.client.models import FailedItem as FailedItem
    from fanfold.client.models import Failure as Failure
    from fanfold.client.models import Item as Item
    from fanfold.client.models import ItemCounts as ItemCounts
    from fanfold.client.models import ItemError as ItemError
    from fanfold.client.models import ItemState as ItemState
    from fanfold.client.models import Job as Job
    from fanfold.client.models import JobCounts as JobCounts
    from fanfold.client.models import JobFailure as JobFailure
    from fanfold.client.models import JobState as JobState
    from fanfold.client.models import Part as Part
    from fanfold.client.models import Progress as Progress
    from fanfold.client.schedule_models import Schedule as Schedule
    from fanfold.client.schedule_models import ScheduleCounts as ScheduleCounts
    from fanfold.client.schedule_models import ScheduleRun as ScheduleRun
    from fanfold.client.schedules import ScheduleOptions as ScheduleOptions
    from fanfold.client.steering import JobChanges as JobChanges
    from fanfold.client.steering import RunChanges as RunChanges
    from fanfold.processing import ItemDropped as ItemDropped
    from fanfold.processing import ProcessorContext as ProcessorContext
    from fanfold.processing import Reducer as Reducer
    from fanfold.processing import RetryLater as RetryLater
    from fanfold.processing import ValidationError as ValidationError
    from fanfold.processing import example as example

_HOMES = {
    "AsyncFanfold": "fanfold.client.async_http",
    "Attempt": "fanfold.client.models",
    "Attempts": "fanfold.client.models",
    "CatalogEntry": "fanfold.client.models",
    "Child": "fanfold.client.models",
    "ChildState": "fanfold.client.models",
    "ChunkCounts": "fanfold.client.models",
    "DryRun": "fanfold.client.models",
    "ErrorGroup": "fanfold.client.models",
    "FailedItem": "fanfold.client.models",
    "Failure": "fanfold.client.models",
    "Fanfold": "fanfold.client.http",
    "FanfoldError": "fanfold.client.errors",
    "Item": "fanfold.client.models",
    "ItemCounts": "fanfold.client.models",
    "ItemDropped": "fanfold.processing",
    "ItemError": "fanfold.client.models",
    "ItemState": "fanfold.client.models",
    "Job": "fanfold.client.models",
    "JobChanges": "fanfold.client.steering",
    "JobCounts": "fanfold.client.models",
    "JobFailure": "fanfold.client.models",
    "JobState": "fanfold.client.models",
    "Part": "fanfold.client.models",
    "ProcessorContext": "fanfold.processing",
    "Progress": "fanfold.client.models",
    "Reducer": "fanfold.processing",
    "Refused": "fanfold.client.errors",
    "RetryLater": "fanfold.processing",
    "RunChanges": "fanfold.client.steering",
    "Schedule": "fanfold.client.schedule_models",
    "ScheduleCounts": "fanfold.client.schedule_models",
    "ScheduleOptions": "fanfold.client.schedules",
    "ScheduleRun": "fanfold.client.schedule_models",
    "Unreachable": "fanfold.client.errors",
    "ValidationError": "fanfold.processing",
    "WaitTimeout": "fanfold.client.errors",
    "example": "fanfold.processing",
}

__all__ = [
    "AsyncFanfold",
    "Attempt",
    "Attempts",
    "CatalogEntry",
    "Child",
    "ChildState",
    "ChunkCounts",
    "DryRun",
    "ErrorGroup",
    "FailedItem",
    "Failure",
    "Fanfold",
    "FanfoldError",
    "Item",
    "ItemCounts",
    "ItemDropped",
    "ItemError",
    "ItemState",
    "Job",
    "JobChanges",
    "JobCounts",
    "JobFailure",
    "JobState",
    "Part",
    "ProcessorContext",
    "Progress",
    "Reducer",
    "Refused",
    "RetryLater",
    "RunChanges",
    "Schedule",
    "ScheduleCounts",
    "ScheduleOptions",
    "ScheduleRun",
    "Unreachable",
    "ValidationError",
    "WaitTimeout",
    "example",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fanfold' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
