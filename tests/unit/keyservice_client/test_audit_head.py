"""The daemon keeps the head of the audit log, and says so when it goes back."""

from pathlib import Path

import pytest

from dnssecd.daemon.audit_head import TOLD_FOR_S, WRITE_EVERY_S, AuditHead

NOW = 1_900_000_000.0


def head(number: int, hashed: str = "a") -> str:
    return f"{number}:{hashed * 64}"


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("then", "why"),
    [(head(3), "from entry 7 to 3"), (head(0, "0"), "to 0"), (head(7, "b"), "it was replaced")],
)
def test_a_head_that_goes_back(tmp_path: Path, then: str, why: str, restarted: bool) -> None:
    seen = AuditHead(tmp_path)
    assert seen.take(head(5), NOW) == ""
    assert seen.take(head(7), NOW + 1) == ""
    assert seen.take(head(7), NOW + 2) == ""
    if restarted:
        seen.close(NOW + 3)
        seen = AuditHead(tmp_path)
    assert why in seen.take(then, NOW + 10)
    assert why in seen.take(head(8, "c"), NOW + 20), "it is told for a day"
    seen.close(NOW + 21)
    assert why in AuditHead(tmp_path).take(head(9, "c"), NOW + 30), "also after a restart"
    assert seen.take(head(10, "c"), NOW + 10 + TOLD_FOR_S) == ""
    text, at = AuditHead(tmp_path).last_fault
    assert why in text
    assert at == NOW + 10, "an audit shows it for longer"


def test_it_is_written_now_and_then(tmp_path: Path) -> None:
    seen = AuditHead(tmp_path)
    seen.take(head(1), NOW)
    first = (tmp_path / "audit-head").read_bytes()
    seen.take(head(2), NOW + 1)
    assert (tmp_path / "audit-head").read_bytes() == first
    seen.take(head(3), NOW + 1 + WRITE_EVERY_S)
    assert b"3:" in (tmp_path / "audit-head").read_bytes()
    assert (tmp_path / "audit-head").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_read_or_written_is_no_reason_to_end(tmp_path: Path) -> None:
    (tmp_path / "audit-head").write_text("no JSON")
    seen = AuditHead(tmp_path)
    assert seen.take(head(1), NOW) == ""
    AuditHead(tmp_path / "missing").take(head(1), NOW)
    assert AuditHead(tmp_path).take("", NOW) == "", "a key service without audit log"
