"""Hypothesis strategies for JSON values, and what it means that one came back equal."""

from typing import Any

from hypothesis import strategies as st

storable_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
"""Every Unicode text but for NUL and lone surrogates."""

numbers = st.one_of(
    st.integers(),
    st.integers(min_value=-(10**5000), max_value=10**5000),
    st.floats(allow_nan=False, allow_infinity=False),
)

scalars = st.one_of(st.none(), st.booleans(), numbers, storable_text)

values = st.recursive(
    scalars,
    lambda children: st.one_of(
        st.lists(children, max_size=5), st.dictionaries(storable_text, children, max_size=5)
    ),
    max_leaves=25,
)
"""Any JSON value that can be stored."""


def exactly(value: Any) -> str:
    """Text that is the same for two values only if they are equal to JSON.

    To Python 1, 1.0 and true are equal, and so are 0.0 and -0.0.
    """
    return repr(value)
