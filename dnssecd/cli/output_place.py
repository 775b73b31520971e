"""The output of a command: a file or a stream. It is written only when the command succeeded."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dnssecd.cli.common import Bad
from dnssecd.cli.output import copy_text
from dnssecd.cli.private_file import PrivateFile
from dnssecd.cli.stopping import Stopping

STANDARD_OUTPUT = "-"
_COPIED = 65_536


@contextmanager
def output_place(path: str, scratch: Path, stopping: Stopping) -> Iterator[Callable[[str], object]]:
    """Provide the stream that becomes the content of ``path`` (``-``: standard output), unless the block raises.

    A path that is not a regular file (a pipe, a device) is written to, never replaced. Output to a stream is first kept
    in ``scratch``, a private directory; copying it out can be interrupted, because the reader may be stuck. Raises Bad
    when the output cannot be written.
    """
    if path != STANDARD_OUTPUT and (Path(path).is_file() or not Path(path).exists()):
        with PrivateFile(path) as out:
            yield out.write
        return
    held = scratch / "output"
    with PrivateFile(str(held)) as out:
        yield out.write
    with stopping.allowed(), held.open(encoding="utf-8") as finished:
        _pour(finished, path)


def _pour(finished: TextIO, path: str) -> None:
    try:
        if path == STANDARD_OUTPUT:
            for text in iter(lambda: finished.read(_COPIED), ""):
                copy_text(text)
            sys.stdout.flush()
        else:
            with Path(path).open("w", encoding="utf-8") as stream:
                shutil.copyfileobj(finished, stream)
    except BrokenPipeError:
        raise
    except OSError as error:
        name = "standard output" if path == STANDARD_OUTPUT else path
        raise Bad(f"{name} cannot be written ({error.strerror})", "choose another file with -o") from None
