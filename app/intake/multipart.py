"""A form of two parts as it arrives: first the job, then its items."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError

from fanfold.app.http.errors import BodyTooLarge, MalformedRequest
from fanfold.contract.settings import GatewaySettings

JOB = "job"
ITEMS = "items"


@dataclass(slots=True)
class Part:
    """The head of a part."""

    headers: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The part's name in the form."""
        return self._of_disposition("name")

    @property
    def file_name(self) -> str:
        """The file's name; empty if the part is no file."""
        return self._of_disposition("filename")

    def _of_disposition(self, parameter: str) -> str:
        message = Message()
        message["Content-Disposition"] = self.headers.get("content-disposition", "")
        found = message.get_param(parameter, "", header="Content-Disposition")
        return found[2] if isinstance(found, tuple) else str(found)


_END = object()
Event = Part | bytes | object


def boundary_of(content_type: str) -> bytes | None:
    """The boundary in a Content-Type; None if it is not that of a form."""
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_type() != "multipart/form-data":
        return None
    return str(message.get_param("boundary", "")).encode("latin-1", "replace")


class Form:
    """The two parts, one after the other. Raises MalformedRequest for any other body."""

    def __init__(self, blocks: Iterator[bytes], boundary: bytes, limits: GatewaySettings) -> None:
        """Read from these blocks."""
        self._limits = limits
        self._events = _events(blocks, boundary)

    def job(self) -> bytes:
        """The text of the part `job`, which is the first one."""
        self._next_part(JOB)
        text = bytearray()
        for block in self._data():
            text += block
            if len(text) > self._limits.max_body_bytes:
                raise BodyTooLarge(
                    "body_too_large",
                    f"At most {self._limits.max_body_bytes} bytes are allowed for the part `job` "
                    "(FANFOLD_MAX_BODY_BYTES).",
                )
        return bytes(text)

    def items(self) -> tuple[Part, Iterator[bytes]]:
        """The part `items`, which is the second and last one."""
        part = self._next_part(ITEMS)
        return part, self._last_data()

    def _next_part(self, name: str) -> Part:
        event = next(self._events, None)
        if not isinstance(event, Part):
            raise _malformed(f"The form has no part `{name}`; {_PARTS}.")
        if event.name != name:
            raise _malformed(_otherwise(event.name, name))
        return event

    def _data(self) -> Iterator[bytes]:
        for event in self._events:
            if event is _END:
                return
            if isinstance(event, bytes):
                yield event
        raise _broken_off()

    def _last_data(self) -> Iterator[bytes]:
        yield from self._data()
        if next(self._events, None) is not None:
            raise _malformed(f"The form has more after the part `{ITEMS}`; {_PARTS}.")


_PARTS = f"send `{JOB}`, with the job as JSON, and after it `{ITEMS}`, and nothing else"


def _otherwise(found: str, wanted: str) -> str:
    """What is wrong with a form that has this part where another is wanted."""
    if found == JOB:
        what = f"The form has the part `{JOB}` twice"
    elif found == ITEMS:
        what = f"The form has the part `{ITEMS}` before, or without, the part `{JOB}`"
    elif found:
        what = f"The form has an unknown part where `{wanted}` has to be"
    else:
        what = f"The form has a part without a name where `{wanted}` has to be"
    return f"{what}; {_PARTS}."


def _malformed(detail: str) -> MalformedRequest:
    return MalformedRequest("malformed_multipart", detail)


def _broken_off() -> MalformedRequest:
    return _malformed("The form ended before it was whole: its closing boundary is missing.")


def _events(blocks: Iterator[bytes], boundary: bytes) -> Iterator[Event]:
    """A Part for each part's head, its data in blocks, and _END."""
    waiting: list[Event] = []
    head, name, value = Part(), bytearray(), bytearray()
    is_whole = False

    def on_part_begin() -> None:
        nonlocal head
        head = Part()

    def on_header_end() -> None:
        head.headers[name.decode("latin-1").lower()] = value.decode("utf-8", "replace")
        name.clear()
        value.clear()

    def on_end() -> None:
        nonlocal is_whole
        is_whole = True

    if not boundary:
        raise _malformed("The form's Content-Type names no boundary.")
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": on_part_begin,
                "on_header_field": lambda data, start, end: name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: value.extend(data[start:end]),
                "on_header_end": on_header_end,
                "on_headers_finished": lambda: waiting.append(head),
                "on_part_data": lambda data, start, end: waiting.append(data[start:end]),
                "on_part_end": lambda: waiting.append(_END),
                "on_end": on_end,
            },
        )
        for block in blocks:
            parser.write(block)
            yield from waiting
            waiting.clear()
    except FormParserError:
        detail = "The body is not a form as its Content-Type describes it (multipart/form-data)."
        raise _malformed(detail) from None
    if not is_whole:
        raise _broken_off()
