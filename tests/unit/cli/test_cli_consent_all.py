"""`key consent give --all` agrees to what it has shown, and to nothing without a person at a terminal."""

import sys

import pytest

from dnssecd.cli import key_custody
from dnssecd.cli.common import Bad
from dnssecd.keyservice_protocol import Consent

WAITING = [
    Consent("0000000a", "export", "x", "export of a key", 2001, 1, 9),
    Consent("0000000b", "bind", "y", "own request", 2002, 1, 9),
    Consent("0000000c", "bind", "z", "has it already", 2001, 1, 9, given_by=2003),
    Consent("0000000d", "destroy", "u", "destruction of a key", 61_001, 1, 9),
]


def test_it_shows_and_asks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: " 2 ")
    assert key_custody.confirm_all(WAITING, 2002) == ["0000000a", "0000000d"]
    shown = capsys.readouterr().out
    assert ("0000000a" in shown, "0000000d" in shown, "0000000b" in shown) == (True, True, False)
    assert key_custody.confirm_all([], 2002) == []


@pytest.mark.parametrize(("terminal", "typed"), [(False, "2"), (True, ""), (True, "y"), (True, "3")])
def test_without_a_confirmation_there_is_no_consent(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, typed: str
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: typed)
    with pytest.raises(Bad):
        key_custody.confirm_all(WAITING, 2002)
