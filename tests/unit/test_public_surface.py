"""`import fanfold`: what users may rely on."""

import inspect
from typing import Any

import pytest

import fanfold
from fanfold import AsyncFanfold, Fanfold


@pytest.mark.parametrize("name", fanfold.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(fanfold, name))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fanfold' has no attribute 'fold'"):
        fanfold.fold  # noqa: B018
    assert "Fanfold" in dir(fanfold)


def methods(client: type) -> dict[str, Any]:
    return {
        name: method
        for name, method in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_")
    }


def test_both_clients_have_the_same_methods_with_the_same_parameters_and_words() -> None:
    blocking, asynchronous = methods(Fanfold), methods(AsyncFanfold)
    assert list(blocking) == list(asynchronous)
    for name, method in blocking.items():
        twin = asynchronous[name]
        assert inspect.getdoc(method) == inspect.getdoc(twin)
        mine, others = (inspect.signature(one).parameters for one in (method, twin))
        assert [(p.name, p.kind, p.default) for p in mine.values()] == [
            (p.name, p.kind, p.default) for p in others.values()
        ]
