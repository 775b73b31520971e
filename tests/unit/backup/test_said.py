"""What `dnssecd restore` says at its end."""

from __future__ import annotations

import pytest

from dnssecd.backup.judge import Decision, Refusal
from dnssecd.backup.restore import Done
from dnssecd.cli.restore import _render, _result

LACKING = Refusal("a.test.", "keys-missing", "a.test. lacks keys here", "bring them in")


@pytest.mark.parametrize(
    ("brought", "said"),
    [
        (0, "nothing was changed"),
        (1, "no zone was restored; 1 key was imported and stays"),
        (3, "no zone was restored; 3 keys were imported and stay"),
    ],
)
def test_a_refusal_reports_imported_keys(capsys: pytest.CaptureFixture[str], brought: int, said: str) -> None:
    _render(_result(Done((), (LACKING,), keys_brought=brought), check=False))
    assert said in capsys.readouterr().out.splitlines()[-1]


def test_zones_that_could_be_restored_are_reported_although_another_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = tuple(Decision(zone, 2, 2, 2, False, None) for zone in ("a.test.", "b.test."))
    _render(_result(Done(both, (LACKING,)), check=True))
    lines = capsys.readouterr().out.splitlines()
    assert "REFUSED (keys-missing)" in next(line for line in lines if line.startswith("a.test."))
    assert "served unchanged" in next(line for line in lines if line.startswith("b.test."))
    assert lines[-1] == "nothing was changed; --keep-going restores the 1 zone that was not refused"
    _render(_result(Done(both, (LACKING,), ("b.test.",)), check=False))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "1 zone restored; 1 zone refused and unchanged"
