"""The form of two parts: any boundary, any split into pieces; everything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.app.http.errors import BodyTooLarge, MalformedRequest
from fanfold.app.intake.multipart import Form, boundary_of
from fanfold.contract.settings import GatewaySettings
from tests.unit.intake import LIMITS, limits, pieces

JOB = ('Content-Disposition: form-data; name="job"', b"{}")
ITEMS = ('Content-Disposition: form-data; name="items"; filename="a.ndjson"', b"1\n2\n")

OTHER = ('Content-Disposition: form-data; name="data"', b"1")


def body(*parts: tuple[str, bytes], boundary: str = "b") -> bytes:
    written = b"".join(
        f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts
    )
    return written + f"--{boundary}--\r\n".encode()


def parsed(
    data: bytes, size: int = 1 << 20, *, boundary: str = "b", within: GatewaySettings = LIMITS
) -> tuple[bytes, str, bytes]:
    """The job, the file's name and the items."""
    form = Form(pieces(data, size), boundary.encode(), within)
    job = form.job()
    part, blocks = form.items()
    return job, part.file_name, b"".join(blocks)


def refusal(data: bytes, size: int = 1 << 20) -> str:
    with pytest.raises(MalformedRequest) as refused:
        parsed(data, size)
    assert refused.value.code == "malformed_multipart"
    return refused.value.detail


@given(
    st.one_of(st.binary(max_size=200), st.sampled_from([b"\r\n--b", b"\r\n--bx--\r\n-", b"--b"])),
    st.binary(max_size=50).filter(lambda job: b"--b" not in job),
    st.integers(1, 40),
)
def test_both_parts_come_out_as_they_were(data: bytes, job: bytes, size: int) -> None:
    boundary = "bound-4f8a"
    form = body((JOB[0], job), (ITEMS[0], data), boundary=boundary)
    assert parsed(form, size, boundary=boundary) == (job, "a.ndjson", data)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        ([ITEMS, JOB], "The form has the part `items` before, or without, the part `job`; send"),
        ([ITEMS], "The form has the part `items` before, or without, the part `job`; send"),
        ([], "The form has no part `job`; send"),
        ([JOB], "The form has no part `items`; send"),
        ([JOB, JOB, ITEMS], "The form has the part `job` twice; send"),
        ([JOB, ITEMS, ITEMS], "The form has more after the part `items`; send"),
        ([JOB, ITEMS, JOB], "The form has more after the part `items`; send"),
        ([OTHER, ITEMS], "The form has an unknown part where `job` has to be; send"),
        ([JOB, OTHER], "The form has an unknown part where `items` has to be; send"),
        ([("X: y", b"{}"), ITEMS], "The form has a part without a name where `job` has to be"),
    ],
)
def test_other_parts_are_refused(parts: list[tuple[str, bytes]], detail: str, size: int) -> None:
    assert refusal(body(*parts), size).startswith(detail)


def test_a_form_that_ends_anywhere_before_its_end_is_refused() -> None:
    whole = body(JOB, ITEMS)
    for kept in range(whole.index(b"--b--") + 4):
        refusal(whole[:kept])


@pytest.mark.parametrize("data", [b"{}", b"--x\r\n", b"--b\r\nno header\r\n\r\n", b"--bb\r\n"])
def test_what_is_no_form_is_refused(data: bytes) -> None:
    refusal(data)


def test_a_job_over_the_limit_is_refused() -> None:
    data = body((JOB[0], b"{" + b" " * 100), ITEMS)
    with pytest.raises(BodyTooLarge, match="part `job`"):
        parsed(data, within=limits(max_body_bytes=100))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/form-data; boundary="a b"', b"a b"),
        ("Multipart/Form-Data; charset=x; boundary=abc", b"abc"),
        ("multipart/form-data", b""),
        ("multipart/mixed; boundary=abc", None),
        ("application/json", None),
        ("", None),
    ],
)
def test_the_boundary_is_read_from_the_content_type(
    content_type: str, boundary: bytes | None
) -> None:
    assert boundary_of(content_type) == boundary
