"""What `dnssecd restore` says at its end."""

from __future__ import annotations

import pytest

from dnssecd.backup.judge import Refusal
from dnssecd.backup.restore import Done
from dnssecd.cli.restore import _render, _result

LACKING = Refusal("a.test.", "keys-missing", "a.test. lacks keys here", "bring them in")


@pytest.mark.parametrize(
    ("brought", "said"),
    [
        (0, "nothing was changed"),
        (1, "no zone was restored; 1 key was brought in and stays"),
        (3, "no zone was restored; 3 keys were brought in and stay"),
    ],
)
def test_a_refusal_tells_of_keys_that_were_brought_in(
    capsys: pytest.CaptureFixture[str], brought: int, said: str
) -> None:
    _render(_result(Done((), (LACKING,), keys_brought=brought), check=False))
    assert said in capsys.readouterr().out.splitlines()[-1]
