"""structlog without the libraries that it draws tracebacks with on a terminal.

It loads rich wherever that is installed (commands show progress with it): 80 modules, 4 MiB and a third of the time in
which the key service starts. Tracebacks drawn by rich also show the values of local variables, which may be secrets.
"""

import sys

_DRAWING = ("rich", "better_exceptions")


def load_structlog() -> None:
    """Load structlog, if it is not loaded yet, as if those libraries were not installed."""
    hidden = [name for name in _DRAWING if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]
