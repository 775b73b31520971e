"""Grants: exact names, everything below, the whole zone, self; and what must not match (CVE-2020-8624)."""

from __future__ import annotations

from dataclasses import dataclass

import dns.rdatatype
import pytest

from dnssecd.core.dns.names import owner_key, text_to_wire
from dnssecd.core.update.types import NOERROR, NOTZONE, REFUSED, UpdatePolicy
from dnssecd.core.zone.grants import NOTHING, BadName, Grants, compile_grants, owned_by_updates
from tests.unit.core_update.build import (
    EVERYTHING,
    ORIGIN,
    RR,
    add,
    delete,
    delete_rr,
    rtype_of,
    wire_name,
    zone_view,
)
from tests.unit.core_update.carry import update

KEY = text_to_wire("acme.")


@dataclass(frozen=True)
class Text:
    tsig: str
    names: tuple[str, ...]
    types: tuple[str, ...]


def grants(*texts: Text) -> Grants:
    return compile_grants(texts, ORIGIN, lambda text: int(dns.rdatatype.from_text(text)))


def policy(names: str | tuple[str, ...], *types: str, tsig: str = "acme.") -> UpdatePolicy:
    names = (names,) if isinstance(names, str) else names
    return UpdatePolicy(grants(Text(tsig, names, types or ("ANY",))).of(text_to_wire(tsig)))


def key_of(name: str) -> bytes:
    return owner_key(wire_name(name), ORIGIN)


def covers(given: Grants, name: str, mnemonic: str = "TXT") -> bool:
    return given.of(KEY).allows(key_of(name), rtype_of(mnemonic))


def test_an_exact_name_covers_itself_and_its_types() -> None:
    given = grants(Text("acme.", ("_acme-challenge.example.",), ("TXT", "CAA")))
    assert covers(given, "_acme-challenge")
    assert covers(given, "_ACME-Challenge", "CAA")
    assert not covers(given, "_acme-challenge", "A")
    for other in ("@", "x._acme-challenge", "acme-challenge", "_acme-challenge.x", "*"):
        assert not covers(given, other), other


def test_below_covers_all_below_and_not_the_name() -> None:
    given = grants(Text("acme.", ("*.sub.example.",), ("ANY",)))
    for name in ("a.sub", "b.a.sub", "*.sub", "A.SUB"):
        assert covers(given, name, "A"), name


@pytest.mark.parametrize(
    "name",
    ["sub", "@", "www", "notsub", "a.notsub", "sub.www", "sub.sub2", "a.su", "a.sub2", "asub", r"a\.sub"],
)
def test_below_does_not_cover_sibling_parent_or_look_alike(name: str) -> None:
    assert not covers(grants(Text("acme.", ("*.sub.example.",), ("ANY",))), name)


@pytest.mark.parametrize("label", [r"x\.sub", r"\000sub", r"\000.sub\000", "sub\\001", "sub\\001\\001"])
def test_odd_labels_do_not_lead_into_a_granted_sub_tree(label: str) -> None:
    assert not covers(grants(Text("acme.", ("*.sub.example.",), ("ANY",))), label)


def test_whole_zone_covers_the_apex_too() -> None:
    given = grants(Text("acme.", ("*",), ("A",)))
    for name in ("@", "www", "a.b.c"):
        assert covers(given, name, "A")
        assert not covers(given, name, "TXT")


def test_below_the_zones_own_name_leaves_out_the_apex() -> None:
    given = grants(Text("acme.", ("*.example.",), ("ANY",)))
    assert covers(given, "www")
    assert not covers(given, "@")


def test_self_is_the_keys_own_name() -> None:
    host = text_to_wire("host.example.")
    given = grants(Text("host.example.", ("self",), ("A", "AAAA")))
    assert given.of(host).allows(key_of("host"), rtype_of("AAAA"))
    assert not given.of(host).allows(key_of("host"), rtype_of("TXT"))
    assert not given.of(host).allows(key_of("a.host"), rtype_of("A"))
    assert not given.of(host).allows(key_of("host2"), rtype_of("A"))
    assert not grants(Text("acme.", ("self",), ("ANY",))).of(KEY)


def test_keys_have_their_own_grants_only() -> None:
    given = grants(Text("acme.", ("a.example.",), ("A",)), Text("ddns.", ("b.example.",), ("A",)))
    assert covers(given, "a", "A")
    assert not covers(given, "b", "A")
    assert given.of(text_to_wire("ddns.")).allows(key_of("b"), 1)
    assert given.of(text_to_wire("other.")) is NOTHING
    assert given.of(None) is NOTHING


def test_grants_of_one_key_add_up() -> None:
    given = grants(
        Text("acme.", ("*",), ("A",)),
        Text("acme.", ("*.sub.example.",), ("TXT",)),
        Text("acme.", ("x.sub.example.",), ("MX",)),
    )
    assert all(covers(given, "x.sub", each) for each in ("A", "TXT", "MX"))
    assert not covers(given, "y.sub", "MX")
    assert not covers(given, "x", "TXT")


def test_a_name_outside_the_zone_is_no_grant() -> None:
    with pytest.raises(BadName):
        grants(Text("acme.", ("a.other.",), ("A",)))


def test_owned_by_updates_with_any_holder_of_the_grant() -> None:
    given = grants(
        Text("acme.", ("_acme-challenge.example.",), ("TXT",)), Text("ddns.", ("*.dyn.example.",), ("A",))
    )
    assert owned_by_updates(given, key_of("_acme-challenge"), rtype_of("TXT"))
    assert owned_by_updates(given, key_of("h.dyn"), rtype_of("A"))
    assert not owned_by_updates(given, key_of("h.dyn"), rtype_of("TXT"))
    assert not owned_by_updates(given, key_of("_acme-challenge"), rtype_of("A"))
    assert not owned_by_updates(given, key_of("dyn"), rtype_of("A"))


# In updates: every RR must be covered, else nothing happens


SUB = policy("*.sub.example.")


@pytest.mark.parametrize(
    "rr",
    [
        add("www", "A", "192.0.2.3"),
        add("@", "A", "192.0.2.3"),
        add("sub", "A", "192.0.2.3"),
        add("x.notsub", "A", "192.0.2.3"),
        add("xsub", "A", "192.0.2.3"),
        delete("www"),
        delete("@"),
        delete("sub"),
        delete("nowhere"),
        delete("www", "A"),
        delete_rr("www", "A", "192.0.2.1"),
        delete("@", "SOA"),
    ],
    ids=str,
)
def test_a_key_for_a_sub_domain_is_refused_elsewhere(rr: RR) -> None:
    done = update(add("x.sub", "A", "192.0.2.1"), rr, policy=SUB)
    assert done.rcode == REFUSED
    assert done.result.is_noop


def test_a_key_for_a_sub_domain_works_there() -> None:
    renewed = [delete("ns.sub"), add("ns.sub", "A", "192.0.2.54")]
    done = update(add("x.sub", "A", "192.0.2.1"), *renewed, add("*.sub", "TXT", '"x"'), policy=SUB)
    assert done.rcode == NOERROR
    assert len(done.added) == 3


def test_outside_the_zone_is_notzone_not_refused() -> None:
    assert update(add("x.other.", "A", "192.0.2.1"), policy=SUB).rcode == NOTZONE


def test_delete_all_needs_a_grant_for_every_type_present() -> None:
    assert update(delete("www"), policy=policy("www.example.", "A")).rcode == REFUSED
    assert update(delete("www"), policy=policy("www.example.", "A", "TXT")).removed
    assert update(delete("nowhere"), policy=policy("nowhere.example.", "A")).rcode == NOERROR
    assert update(delete("nowhere"), policy=policy("www.example.", "A")).rcode == REFUSED


def test_delete_all_at_the_apex_needs_no_grant_for_what_stays() -> None:
    assert update(delete("@"), policy=policy("example.", "TXT")).removed
    assert update(delete("@"), policy=policy("example.", "A")).rcode == REFUSED


def test_any_does_not_open_what_is_refused_to_all() -> None:
    whole = policy("*")
    assert update(add("@", "DNSKEY", "257 3 13 AAAA"), policy=whole).rcode == REFUSED
    assert update(delete("www", "NSEC"), policy=whole).rcode == REFUSED
    assert update(add("@", "A", "192.0.2.1"), policy=whole).added


def test_everything_is_everything() -> None:
    assert EVERYTHING.allows(b"", 1)
    assert EVERYTHING.allows(b"a\x00b\x00", 65535)
    assert EVERYTHING
    assert not NOTHING


def test_refusal_names_what_lacks_a_grant() -> None:
    done = update(add("www", "AAAA", "2001:db8::1"), policy=policy("www.example.", "A"), zone=zone_view())
    assert "www.example." in done.result.reason
    assert "AAAA" in done.result.reason
