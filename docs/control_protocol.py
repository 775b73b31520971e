"""Writes docs/control-protocol.md from the types of messages: `.venv/bin/python docs/control_protocol.py`."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from dnssecd.control.command import CHUNK_MAX
from dnssecd.control.messages import NOUNS
from dnssecd.control.messages.base import Request, answer_type
from dnssecd.control.messages.catalogue import list_requests
from dnssecd.control.messages.words import Field, describe, list_structs, resolve_fields
from dnssecd.control.server import CLIENTS_MAX, IDLE_S, OPERATORS_ONLY, REQUEST_MAX

DOCUMENT = Path(__file__).with_name("control-protocol.md")

HEAD = f"""# The control protocol

How commands reach the daemon. The types in `dnssecd/control/messages/` define every message, and daemon and commands
share them. This document is generated from them: `.venv/bin/python docs/control_protocol.py`.

## Frames

The daemon listens on a Unix socket (`[server] control_socket`). A frame is 4 octets of length (big endian), then that
many octets of JSON in UTF-8. A connection carries any number of requests, one after the other.

| frame | form |
|---|---|
| request | `{{"command": "zone.show", "args": {{"zone": "example.com."}}}}` |
| progress | `{{"progress": {{"done": 3, "total": 10, "text": "…"}}}}`: any number, before the answer to long work |
| chunk | `{{"chunk": "…"}}`: any number, before the answer of a command that streams text |
| answer | `{{"result": …}}` |
| error | `{{"error": {{"what": "…", "remedy": "…"}}, "exit": 1}}`: `exit` is the exit status of the command |

The client keeps its end open until the answer has arrived: at an end of file, the daemon gives the command up. An error
can have a `detail`, such as the list of all errors of a configuration.

A request with a field that the command does not take, without a field that it needs, or with a field of another type
is refused: the error names the field. A client ignores fields of an answer that it does not know: fields may be added,
none is renamed or removed.

## Who may, and bounds

Root and the daemon's own user may give every command, others those of their role: the Unix groups in `[roles]`
(docs/security.md). Viewers may give the commands that change nothing. Those that change something are marked
**changes** and need an operator, or, where marked **key officer**, a key officer. Every one of them is recorded
(`dnssecd zone history`).

A request has at most {REQUEST_MAX} octets, and its arguments are scalars and lists of scalars. At most {CLIENTS_MAX}
clients are served at once; {OPERATORS_ONLY} of these places are for operators and key officers only. A client that
sends nothing for {IDLE_S:.0f} s is disconnected. A chunk has at most {CHUNK_MAX} characters.

## Types

Zone names are text with the final dot. Times are seconds since the epoch. A field is null where there is nothing to
say. A request may leave out every field with a default.
"""


def text() -> str:
    """Return the document as it should be."""
    parts = [HEAD]
    seen: set[type[msgspec.Struct]] = set()
    for noun in NOUNS:
        module = import_module(f"dnssecd.control.messages.{noun}")
        parts.append(f"\n## {_title(module.__doc__ or '')}\n")
        for request in list_requests(noun):
            parts.append(_describe_request(request))
            for struct in _reachable(answer_type(request)):
                if struct not in seen:
                    seen.add(struct)
                    parts.append(_describe_struct(struct))
    return "".join(parts)


def _title(docstring: str) -> str:
    return docstring.split(":")[0].strip().rstrip(".")


def _describe_request(request: type[Request[Any]]) -> str:
    marks = [
        "**changes**" if request.changes else "",
        "**key officer**" if request.for_officers else "",
        f"sends {request.chunks} as chunks" if request.chunks else "",
        "reports progress" if request.progress else "",
    ]
    notes = "; ".join(filter(None, marks))
    lines = [
        f"\n### {request.command}\n",
        f"\n{_doc(request)}\n",
        f"\nAnswer: `{answer_type(request).__name__}`",
    ]
    lines.append(f"; {notes}.\n" if notes else ".\n")
    fields = resolve_fields(request)
    lines.append(_table(request, fields) if fields else "\nNo arguments.\n")
    return "".join(lines)


def _describe_struct(struct: type[msgspec.Struct]) -> str:
    return f"\n**`{struct.__name__}`**: {_doc(struct)}\n" + _table(struct, resolve_fields(struct))


def _table(struct: type[msgspec.Struct], fields: dict[str, Field]) -> str:
    encoded = {field.name: field for field in msgspec.structs.fields(struct)}
    rows = ["\n| field | type | default | meaning |\n|---|---|---|---|\n"]
    for name, field in fields.items():
        default = "" if field.required else _default(encoded[name])
        rows.append(
            f"| `{encoded[name].encode_name}` | {describe(field.type)} | {default} | {field.text} |\n"
        )
    return "".join(rows)


def _default(field: Any) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is msgspec.UNSET:
        return "absent"
    return f"`{msgspec.json.encode(value).decode()}`"


def _reachable(struct: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """Return a message and those that it is made of, each before its parts."""
    found = [struct]
    for field in resolve_fields(struct).values():
        for part in list_structs(field.type):
            found += [each for each in _reachable(part) if each not in found]
    return found


def _doc(struct: type[Any]) -> str:
    return " ".join(inspect.cleandoc(struct.__doc__ or "").replace("``", "`").split())


if __name__ == "__main__":
    DOCUMENT.write_text(text())
