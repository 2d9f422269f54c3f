"""The JSON of processors and reducers, as the HTTP contract has it."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from fanfold.answers.views import View
from fanfold.ledger.catalog import CatalogEntry


class CatalogEntryView(View):
    """A processor or reducer that the workers know."""

    model_config = ConfigDict(title="CatalogEntry")

    name: str
    description: str
    options_schema: dict[str, Any] = Field(description="JSON schema of the options.")
    example: dict[str, Any] | None = Field(
        description="A job that uses it, ready to be POSTed; null where its author has to give "
        "one, with `@example`."
    )


class ProcessorView(CatalogEntryView):
    """A processor that the workers know."""

    model_config = ConfigDict(title="Processor")

    takes: Literal["item", "chunk"] | None = Field(
        description="What it is called with: `item`, once for each item, or `chunk`, once with "
        "the list of the chunk's items. Null where a worker of an earlier release published it."
    )
    item_schema: dict[str, Any] | None = Field(
        description="JSON schema of an item, by which `check_items` checks; null where the "
        "processor declares none."
    )


def catalog_entry(entry: CatalogEntry) -> CatalogEntryView:
    """A catalog entry for clients."""
    return CatalogEntryView(
        name=entry.name,
        description=entry.description,
        options_schema=entry.options_schema,
        example=entry.example,
    )


def processor(entry: CatalogEntry) -> ProcessorView:
    """A processor's catalog entry for clients."""
    return ProcessorView(
        **catalog_entry(entry).model_dump(), takes=entry.takes, item_schema=entry.item_schema
    )
