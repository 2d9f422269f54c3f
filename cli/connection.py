"""A connection to the gateway, whose errors end the command with a line and an exit code."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from fanfold.cli.exits import Exit

if TYPE_CHECKING:
    from fanfold import Fanfold


@contextmanager
def connected(url: str) -> Iterator["Fanfold"]:
    """A client; what goes wrong in the block is told in the terms of whoever called."""
    from fanfold import Fanfold, FanfoldError, Refused, Unreachable
    from fanfold.contract.json_values import allow_long_integers

    allow_long_integers()
    try:
        with Fanfold(url) as fanfold:
            yield fanfold
            sys.stdout.flush()
    except Refused as error:
        first, *faults = str(error).splitlines()
        notes = getattr(error, "__notes__", [])
        die(Exit.REFUSED, "\n".join([f"fanfold: {first} ({error.code})", *faults, *notes]))
    except Unreachable as error:
        die(Exit.UNREACHABLE, f"fanfold: {error}")
    except FanfoldError as error:
        die(Exit.REFUSED, f"fanfold: {error}")
    except BrokenPipeError:
        # The reader, `head` perhaps, has seen enough; Python would complain when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def die(code: Exit, message: str) -> NoReturn:
    """End the command with a message on standard error."""
    sys.stderr.write(message + "\n")
    raise typer.Exit(code)
