"""What all commands share: options, exit codes, output."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_type_hints

import typer

from dnssecd.cli.completion import complete_zone
from dnssecd.cli.output import print_json, say_wrapped
from dnssecd.control import client
from dnssecd.control_place import DEFAULT_CONTROL_SOCKET, DEFAULT_PATH, quick_control_socket
from dnssecd.core.dns.names import full_name

if TYPE_CHECKING:
    from dnssecd.control.messages.base import Answer, Request
    from dnssecd.control.messages.keys import Role

A = TypeVar("A", bound="Answer")

DONE, BAD, USAGE, UNREACHABLE = 0, 1, 2, 3

ConfigOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Configuration file (default: $DNSSECD_CONFIG, then /etc/dnssecd/config.toml).",
        show_default=False,
    ),
]
SocketOption = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Control socket (default: as configured).", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ZoneArgument = Annotated[
    str, typer.Argument(metavar="ZONE", help="Name of the zone.", autocompletion=complete_zone)
]
FirstPublication = Annotated[
    bool,
    typer.Option(
        "--first-publication",
        help="Publish although dnssecd cannot find out whether another server signs the zone.",
    ),
]
OptionalZone = Annotated[
    str | None,
    typer.Argument(metavar="[ZONE]", help="Name of the zone; default: all.", autocompletion=complete_zone),
]


@dataclass(frozen=True, slots=True)
class Defaults:
    """Options given before the command."""

    config: str | None = None
    socket: str | None = None
    json: bool = False


class Bad(Exception):
    """A failure of the command itself: what failed, and what to do."""

    def __init__(self, what: str, remedy: str, exit: int = BAD) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.exit = exit


class Cli:
    """The argument of every command: where the daemon is, and how to print."""

    def __init__(self, config: str | None, socket: str | None, as_json: bool) -> None:
        self._config = config or os.environ.get("DNSSECD_CONFIG")
        self._socket = socket
        self.json = as_json

    @property
    def config_path(self) -> Path:
        """Return the path of the configuration file: option, environment or default."""
        return Path(self._config) if self._config else DEFAULT_PATH

    @property
    def socket(self) -> str:
        """Return the daemon's control socket. A missing configuration at the default path is not an error."""
        if self._socket:
            return self._socket
        if self._config is None and not self.config_path.exists():
            return str(DEFAULT_CONTROL_SOCKET)
        if (quick := quick_control_socket(self.config_path)) is not None:
            return str(quick)
        from dnssecd.config.load import control_socket_of

        return str(control_socket_of(self.config_path))

    def ask(self, request: Request[A], **more: Any) -> A:
        """Return the daemon's answer to a request. more: as of client.ask."""
        return client.ask(self.socket, request, **more)

    def show(self, result: Answer | dict[str, Any], render: Callable[[], None]) -> None:
        """Print *result* as JSON with --json, otherwise by *render*."""
        if self.json:
            print_json(to_json(result))
        else:
            render()


Function = Callable[..., None]


def command(app: typer.Typer, name: str) -> Callable[[Function], Function]:
    """Add ``function(cli, …)`` to *app* as the command *name*, with --config, --socket and --json."""

    def add(function: Function) -> Function:
        hints = get_type_hints(function, include_extras=True)

        @functools.wraps(function)
        def run(
            context: typer.Context, config: str | None, socket: str | None, json: bool, **arguments: Any
        ) -> None:
            defaults = context.obj if isinstance(context.obj, Defaults) else Defaults()
            cli = Cli(config or defaults.config, socket or defaults.socket, json or defaults.json)
            _guarded(cli, functools.partial(function, cli, **arguments))

        given = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(function).parameters.values())[1:]
        ]
        run.__signature__ = inspect.Signature([_keyword("context", typer.Context), *given, *_common()])  # type: ignore[attr-defined]
        run.__annotations__ = {
            parameter.name: parameter.annotation for parameter in inspect.signature(run).parameters.values()
        }
        del run.__wrapped__
        app.command(name)(run)
        return function

    return add


def _keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _common() -> list[inspect.Parameter]:
    return [
        _keyword("config", ConfigOption, None),
        _keyword("socket", SocketOption, None),
        _keyword("json", JsonOption, False),
    ]


def _guarded(cli: Cli, work: Callable[[], None]) -> None:
    """Run *work*; turn its exceptions into a message and an exit code."""
    try:
        work()
        sys.stdout.flush()
    except client.Unreachable as error:
        _fail(cli, error.what, error.remedy, UNREACHABLE)
    except client.Failed as error:
        _fail(cli, error.what, error.remedy, error.exit, error.detail)
    except Bad as error:
        _fail(cli, error.what, error.remedy, error.exit)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no second error at exit
        raise typer.Exit(BAD) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:
        if not is_config_errors(error):
            raise
        _fail_config(cli, error)


def is_config_errors(error: Exception) -> bool:
    """Tell whether a configuration cannot be used; compared by name, because the module is heavy to import."""
    return type(error).__name__ == "ConfigErrors"


def _fail(cli: Cli, what: str, remedy: str, exit: int, detail: object = None) -> NoReturn:
    if cli.json:
        error = {"what": what, "remedy": remedy} | ({} if detail is None else {"detail": detail})
        print_json({"error": error})
    else:
        for line in f"dnssecd: {what}".rstrip("\n").split("\n"):
            say_wrapped(line, err=True)
        say_wrapped(f"  to do: {remedy}", "         ", err=True)
        if isinstance(detail, list):
            for line in detail:
                if line != what:
                    say_wrapped(f"  {line}", "    ", err=True)
    raise typer.Exit(exit)


def _fail_config(cli: Cli, error: Any) -> NoReturn:
    if cli.json:
        print_json({"ok": False, "errors": [error_dict(one) for one in error.errors]})
    else:
        for one in error.errors:
            say_wrapped(f"dnssecd: {one}", err=True)
    raise typer.Exit(BAD)


def error_dict(error: Any) -> dict[str, Any]:
    """Return a ConfigError for JSON."""
    return {name: getattr(error, name) for name in ("file", "line", "where", "what", "remedy")}


def to_json(result: Answer | dict[str, Any]) -> dict[str, Any]:
    """Return an answer, or a result made of answers, as JSON has it."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(result)
    return found


def check_role(text: str) -> Role:
    """Return the role of a key that an option names; Bad otherwise."""
    match text.lower():
        case "ksk":
            return "ksk"
        case "zsk":
            return "zsk"
        case "csk":
            return "csk"
    raise Bad(f'"{text}" is not a key role', "give ksk, zsk or csk", USAGE)


def optional_zone(text: str | None) -> str | None:
    """Return a zone name as :func:`full_name` does, None for None."""
    return None if text is None else full_name(text)


def duration(text: str) -> int:
    """Return the seconds of an option such as "30s" or "5m"; a bare number is seconds. Raise typer.BadParameter."""
    from dnssecd.durations import parse_duration

    try:
        seconds = parse_duration(text + "s" if text.isascii() and text.isdigit() else text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if seconds < 0:
        raise typer.BadParameter("time does not run backwards")
    return seconds


def moment(text: str) -> int:
    """Return epoch seconds of an option (epoch seconds or YYYYMMDDHHMMSS, UTC). Raise typer.BadParameter."""
    from datetime import UTC, datetime

    if text.isascii() and text.isdigit():
        if len(text) == 8 and text[:2] in ("19", "20", "21"):
            raise typer.BadParameter(f'"{text}" has eight digits: write YYYYMMDDHHMMSS, as in {text}000000')
        if len(text) < 14:
            return int(text)
        if len(text) == 14:
            try:
                return int(datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
            except ValueError:
                pass
    raise typer.BadParameter(f'"{text}" is neither epoch seconds nor YYYYMMDDHHMMSS')
