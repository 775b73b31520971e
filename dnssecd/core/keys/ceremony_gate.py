"""The gate of off-line KSKs: a step may only lead to a DNSKEY RRset that was signed ahead, and for no shorter time."""

from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys.keyset import Keyset, SigningView, signing_view
from dnssecd.core.keys.signed_ahead import SignedAhead, dnskey_signers
from dnssecd.core.utc import moment

RULE = "signed-ahead"
CEREMONY = "have it signed at a ceremony: dnssecd ksr export, dnssecd skr import"


def ceremony_refusal(
    before: Keyset, after: Keyset, ahead: SignedAhead | None, now: int
) -> tuple[str, int | None] | None:
    """Return why the step waits for a ceremony, and until when (None: not known); None: it does not."""
    if ahead is None:
        return None
    old, new = signing_view(before, cds=False), signing_view(after, cds=False)
    keys = dnskey_signers(new, ahead)
    if new.dnskey_rdatas and not new.dnskey_keys:
        return f"no KSK signs the DNSKEY RRset yet; {CEREMONY}", None
    if not keys or (old.dnskey_rdatas, old.dnskey_keys) == (new.dnskey_rdatas, new.dnskey_keys):
        return None
    until = ahead.until(DNSKEY, new.dnskey_rdatas, keys, now)
    if not until:
        begins = ahead.begins(DNSKEY, new.dnskey_rdatas, keys, now)
        if begins is not None:
            return f"the DNSKEY RRset with this step is signed from {moment(begins)} on", begins
        return f"no DNSKEY RRset with this step was signed ahead; {CEREMONY}", None
    present = _present(old, ahead, now)
    if until < present:
        detail = (
            f"the DNSKEY RRset with this step is signed until {moment(until)} only, the present one until "
            f"{moment(present)}; {CEREMONY}"
        )
        return detail, None
    return None


def _present(view: SigningView, ahead: SignedAhead, now: int) -> int:
    keys = dnskey_signers(view, ahead)
    return ahead.until(DNSKEY, view.dnskey_rdatas, keys, now) if keys else 0
