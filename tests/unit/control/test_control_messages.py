"""Requests and answers of the control socket: read field by field, registered once, documented."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnssecd.control import client
from dnssecd.control.client import Failed, call
from dnssecd.control.command import Args, Call, Command, CommandTable
from dnssecd.control.messages.alerts import AcknowledgeAlert
from dnssecd.control.messages.base import BadField, Request, answer_type, read_request
from dnssecd.control.messages.catalogue import all_requests, by_command
from dnssecd.control.messages.config import ReloadConfig
from dnssecd.control.messages.words import describe, resolve_fields
from dnssecd.control.messages.zones import ReloadZone, ShowZone, ZoneReloaded
from dnssecd.control.server import ControlServer
from docs import control_protocol
from tests.commands import Anything, request_named

REQUESTS = all_requests()


def test_the_document_is_that_of_the_types() -> None:
    assert control_protocol.DOCUMENT.read_text() == control_protocol.text(), (
        "run: .venv/bin/python docs/control_protocol.py"
    )


@pytest.mark.parametrize("name", REQUESTS)
def test_every_command_has_a_request_and_an_answer_in_words(name: str) -> None:
    request = REQUESTS[name]
    assert issubclass(answer_type(request), msgspec.Struct)
    assert request.__doc__
    for field in resolve_fields(request).values():
        assert describe(field.type)
    for field in resolve_fields(answer_type(request)).values():
        assert describe(field.type)


@pytest.mark.parametrize(
    ("name", "args", "field", "what"),
    [
        ("zone.show", {}, "zone", 'zone.show needs the field "zone": text'),
        ("zone.show", {"zone": 1}, "zone", 'zone.show: the field "zone" must be text, not the number 1'),
        ("zone.show", {"zone": "a.", "x": 1}, "x", 'zone.show has no field "x"; it takes "zone"'),
        ("plan", {"x": None}, "x", 'plan has no field "x"; it takes no field'),
        ("zone.reload", {"zone": "a.", "accept_change": "yes"}, "accept_change", "must be true or false"),
        ("key.retire", {"zone": "a.", "key_tag": "x"}, "key_tag", "must be an integer"),
        ("key.rollover", {"zone": "a.", "role": "x"}, "role", 'must be "ksk", "zsk" or "csk"'),
        ("zone.wait", {"zone": "a.", "serial": 1.5}, "serial", "must be an integer or null"),
        ("zone.wait", {"zone": "a.", "timeout": None}, "timeout", "must be a number, not null"),
        ("simulate", {"zone": "a.", "days": 1, "outages": [1]}, "outages", "must be a list of texts"),
        ("alerts.ack", {"name": ["x" * 900]}, "name", "…"),
    ],
)
def test_a_bad_field_is_named(name: str, args: dict[str, Any], field: str, what: str) -> None:
    with pytest.raises(BadField) as caught:
        read_request(REQUESTS[name], args)
    assert caught.value.field == field
    assert what in str(caught.value)
    assert len(str(caught.value)) < 300


words = st.text("ab.0", max_size=4)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | words
values = scalars | st.lists(scalars, max_size=3)


@given(data=st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_arguments_are_read_or_refused_by_field(data: st.DataObject) -> None:
    request = REQUESTS[data.draw(st.sampled_from(sorted(REQUESTS)))]
    fields = resolve_fields(request)
    names = st.sampled_from(sorted(fields)) | words if fields else words
    args = data.draw(st.dictionaries(names, values, max_size=4))
    try:
        msgspec.convert(args, Args)
    except msgspec.ValidationError:
        return  # the server refuses it before it looks for a command
    found, refused = None, None
    try:
        found = read_request(request, args)
    except BadField as bad:
        refused = bad.field
    assert isinstance(found, request) == (refused is None)
    assert refused is None or refused in {*fields, *args}
    assert found is None or set(args) <= set(fields)


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_no_deeper_than_the_socket_takes(name: str) -> None:
    def is_flat(kind: Any) -> bool:
        return (
            not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) and get_origin(kind) is not dict
        )

    for field in resolve_fields(REQUESTS[name]).values():
        assert is_flat(field.type)
        assert all(is_flat(part) for part in get_args(field.type))


async def reload(call: Call[ReloadZone]) -> ZoneReloaded:
    raise AssertionError("it is not called")


def test_a_command_is_registered_once() -> None:
    one, other = Command(ReloadZone, reload), Command(ReloadZone, reload)
    with pytest.raises(ValueError, match=r"zone\.reload is registered twice"):
        CommandTable([one], [other])
    table = CommandTable([one])
    with pytest.raises(ValueError, match="registered twice"):
        table.register([other])
    assert table.find("zone.reload") is one


def test_two_requests_are_not_one_command() -> None:
    class ShowZoneAgain(Request[Anything], frozen=True, kw_only=True):
        command: ClassVar[str] = "zone.show"

    with pytest.raises(ValueError, match=r"ShowZone and ShowZoneAgain are both the command zone\.show"):
        by_command([ShowZone, ShowZoneAgain])


async def test_a_bad_field_is_refused_before_the_handler_and_recorded(tmp_path: Path) -> None:
    recorded: list[tuple[str, str]] = []

    async def record(call: Call[Any], ended: str, result: object) -> None:
        recorded.append((call.command, ended))

    table = CommandTable([Command(ReloadZone, reload)])
    server = ControlServer(tmp_path / "c", table, record=record)
    await server.start()
    with pytest.raises(Failed) as caught:
        await asyncio.to_thread(
            call, str(tmp_path / "c"), "zone.reload", {"zone": "a.", "acept_change": True}
        )
    await server.stop()
    assert caught.value.exit == 2
    assert (
        'no field "acept_change"; it takes "zone", "accept_change", "accept_older", "first_publication"'
        in caught.value.what
    )
    assert recorded == [("zone.reload", f"refused: {caught.value.what}")]


async def test_an_answer_of_another_type_is_a_fault_of_the_daemon(tmp_path: Path) -> None:
    async def handler(call: Call[Any]) -> object:
        return {"zone": "a."}

    server = ControlServer(tmp_path / "c", CommandTable([Command(request_named("odd"), handler)]))
    await server.start()
    with pytest.raises(Failed, match="odd failed: the handler returned dict, not Anything"):
        await asyncio.to_thread(call, str(tmp_path / "c"), "odd")
    await server.stop()


def test_config_reload_takes_lists() -> None:
    assert read_request(ReloadConfig, {"remove": ["a."]}).remove == ["a."]


async def test_an_answer_that_is_not_of_the_type_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newer = {"acknowledged": 1, "added_later": True}
    monkeypatch.setattr(client, "call", lambda *_, **__: newer)
    assert client.ask("/s", AcknowledgeAlert(name="x")).acknowledged == 1
    monkeypatch.setattr(client, "call", lambda *_, **__: {"acknowledged": "1"})
    with pytest.raises(Failed, match=r"answer to alerts\.ack cannot be read.*acknowledged") as caught:
        client.ask("/s", AcknowledgeAlert(name="x"))
    assert "restart the daemon" in caught.value.remedy
