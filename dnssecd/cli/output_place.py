"""Where a command's output goes: a file that appears when all went well, or a stream that is written to only then."""

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
    """Provide the way to write to ``path``, a file's or ``-``; nothing comes of it if the block raises.

    What is no regular file (a pipe, a device) is written to, never replaced; for a stream the output waits in
    ``scratch``, a private directory, and what pours it out may be broken off, as the reader may be stuck. Raises Bad
    when it cannot be written.
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
        raise Bad(f"{name} cannot be written ({error.strerror})", "choose another place with -o") from None
