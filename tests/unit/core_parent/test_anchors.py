"""Which keys are given as trust anchors, and the files that say so."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from base64 import b64decode

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import Key, Keyset, ds_rdata, initial_keyset
from dnssecd.core.keys.keystate import Goal, Rec, RecordState, Role, State
from dnssecd.core.parent.anchor_forms import (
    BIND,
    DS,
    UNBOUND,
    UNBOUND_KEY,
    XML,
    files_of,
    quoted_name,
)
from dnssecd.core.parent.anchors import Anchors, Standing, anchors_of
from dnssecd.replacing import replace
from tests.unit.core_parent import keysets
from tests.unit.core_parent.keysets import APEX, NOW, ZONE, key, with_ds


def judged(keyset: Keyset, *, rfc5011: bool = False) -> dict[int, Standing]:
    """The standing of each key, by tag."""
    return {one.key.tag: one.standing for one in anchors_of(ZONE, keyset, rfc5011=rfc5011).anchors}


def late(number: int, **states: State) -> Key:
    """A key whose DNSKEY and signature were published after its DS (step 1)."""
    made = with_ds(key(number), State.RUMOURED)
    for name, state in states.items():
        made = made.with_record(Rec(name), RecordState(state, NOW, 2, 2))
    return made


class TestWhich:
    def test_no_key_before_its_dnskey_is_everywhere(self) -> None:
        keyset = initial_keyset(APEX, (key(1), key(9, Role.ZSK)), NOW)
        assert list(judged(keyset).values()) == [Standing.LATER]

    def test_a_key_in_use_is_given(self) -> None:
        assert judged(keysets.submit()) == {key(1).tag: Standing.GIVEN}
        assert judged(keysets.in_place()) == {key(1).tag: Standing.GIVEN}

    def test_in_a_rollover_the_successor_takes_the_place(self) -> None:
        assert judged(keysets.replaced()) == {key(1).tag: Standing.ENDED, key(2).tag: Standing.GIVEN}

    def test_the_end_is_when_the_ds_was_withdrawn(self) -> None:
        (ended,) = anchors_of(ZONE, keysets.replaced(), rfc5011=False).having(Standing.ENDED)
        assert ended.until == NOW + 5

    def test_a_predecessor_is_given_until_then(self) -> None:
        old = with_ds(key(1), State.OMNIPRESENT, goal=Goal.ABSENT)
        new = key(2).with_record(Rec.DNSKEY, RecordState(State.RUMOURED, NOW, 4, 4))
        assert judged(keysets.keyset(old, new)) == {old.tag: Standing.GIVEN, new.tag: Standing.LATER}

    def test_compromised_is_never_given_even_alone(self) -> None:
        bad = with_ds(key(1), State.OMNIPRESENT, compromised=True)
        assert judged(keysets.keyset(bad)) == {bad.tag: Standing.ENDED}

    def test_a_successor_that_signs_too_late_is_not_given_alone(self) -> None:
        bad = with_ds(key(1), State.UNRETENTIVE, compromised=True)
        new = late(2, dnskey=State.RUMOURED, krrsig=State.RUMOURED)
        assert judged(keysets.keyset(bad, new))[new.tag] is Standing.LATER
        new = late(2, dnskey=State.OMNIPRESENT, krrsig=State.OMNIPRESENT)
        assert judged(keysets.keyset(bad, new))[new.tag] is Standing.GIVEN

    def test_a_standby_key_is_given_beside_another_only(self) -> None:
        spare = replace(key(2), goal=Goal.STANDBY).with_record(Rec.DS, RecordState(State.RUMOURED, NOW, 5, 5))
        used = with_ds(key(1), State.OMNIPRESENT)
        assert set(judged(keysets.keyset(used, spare)).values()) == {Standing.GIVEN}
        assert judged(keysets.keyset(spare)) == {spare.tag: Standing.LATER}

    def test_a_server_with_an_old_version_takes_no_anchor_away(self) -> None:
        used = with_ds(key(1), State.OMNIPRESENT)
        used = used.with_record(Rec.DS, replace(used.ds, step_in=2))
        used = used.with_record(Rec.DNSKEY, replace(used.dnskey, state=State.RUMOURED))
        assert judged(keysets.keyset(used)) == {used.tag: Standing.GIVEN}

    def test_a_revoked_key_ended(self) -> None:
        old = with_ds(key(1), State.UNRETENTIVE, goal=Goal.ABSENT)
        revoked = replace(old, flags=old.flags | 0x80, tag=old.tag + 128, ds=RecordState())
        found = judged(keysets.keyset(old, revoked, with_ds(key(2), State.OMNIPRESENT)), rfc5011=True)
        assert found == {old.tag: Standing.ENDED, key(2).tag: Standing.GIVEN}

    def test_a_zone_that_becomes_insecure_gives_none(self) -> None:
        assert set(judged(keysets.insecure()).values()) == {Standing.ENDED}

    def test_zsks_are_no_anchors(self) -> None:
        assert key(9, Role.ZSK).tag not in judged(keysets.in_place())


def anchors(keyset: Keyset, *, rfc5011: bool = False) -> Anchors:
    return anchors_of(ZONE, keyset, rfc5011=rfc5011)


class TestForms:
    def test_the_xml_has_what_rfc_9718_wants(self) -> None:
        text = files_of(anchors(keysets.replaced()), "https://example.net/anchors.xml")[XML]
        root = ElementTree.fromstring(text)
        assert check_structure(root) == []
        new, old = root.findall("KeyDigest")
        assert old.get("validUntil") == "2023-11-14T22:13:25+00:00"
        assert new.get("validUntil") is None
        digest = bytes.fromhex(new.findtext("Digest") or "")
        assert digest == ds_rdata(APEX, key(2).rdata)[4:]
        assert b64decode(new.findtext("PublicKey") or "") == key(2).public_key
        assert root.get("source") == "https://example.net/anchors.xml"

    def test_the_text_depends_on_the_keys_alone(self) -> None:
        assert files_of(anchors(keysets.in_place())) == files_of(anchors(keysets.in_place()))
        first, second = (files_of(anchors(one))[XML] for one in (keysets.in_place(), keysets.replaced()))
        ids = [re.findall('TrustAnchor id="([0-9a-f]+)"', text) for text in (first, second)]
        assert ids[0] != ids[1]

    def test_without_any_key_there_is_no_xml(self) -> None:
        files = files_of(anchors(keysets.fresh()))
        assert XML not in files
        assert files[DS] == ""
        assert files[BIND] == "// There is no trust anchor of example.com. now.\n"
        assert "server:" not in files[UNBOUND]

    @pytest.mark.parametrize(("rfc5011", "kind"), [(False, "static-ds"), (True, "initial-ds")])
    def test_the_kind_of_anchor_follows_rfc_5011(self, rfc5011: bool, kind: str) -> None:
        files = files_of(anchors(keysets.in_place(), rfc5011=rfc5011))
        assert f'"example.com." {kind} {key(1).tag} 13 2 "' in files[BIND]
        assert (UNBOUND_KEY in files) is rfc5011

    def test_a_name_cannot_leave_its_quotes(self) -> None:
        apex = text_to_wire(r"a\"\;\010b.example.")
        assert quoted_name(apex) == r"a\034\059\010b.example."
        files = files_of(anchors_of("x", replace(keysets.in_place(), apex=apex), rfc5011=False))
        assert '"\\034' not in files[UNBOUND]
        assert files[UNBOUND].count('"') == 2
        assert ElementTree.fromstring(files[XML]).findtext("Zone") == r"a\034\059\010b.example."

    def test_the_root(self) -> None:
        assert quoted_name(b"\0") == "."


def check_structure(root: ElementTree.Element) -> list[str]:
    """The faults of a document against the RELAX NG schema of RFC 9718 §2.1.1, rule by rule."""
    found = []
    if root.tag != "TrustAnchor" or set(root.attrib) != {"id", "source"}:
        found.append("TrustAnchor")
    if [child.tag for child in root] != ["Zone"] + ["KeyDigest"] * (len(root) - 1) or len(root) < 2:
        found.append("children")
    moment = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
    for digest in root.findall("KeyDigest"):
        names = set(digest.attrib)
        if not {"id", "validFrom"} <= names <= {"id", "validFrom", "validUntil"}:
            found.append("attributes")
        if not all(moment.fullmatch(digest.attrib[name]) for name in names - {"id"}):
            found.append("dateTime")
        tags = [child.tag for child in digest]
        if tags != ["KeyTag", "Algorithm", "DigestType", "Digest", "PublicKey", "Flags"]:
            found.append("elements")
        found += [tag for tag in ("KeyTag", "Flags") if int(digest.findtext(tag) or "-1") not in range(65536)]
        found += [
            tag for tag in ("Algorithm", "DigestType") if int(digest.findtext(tag) or "-1") not in range(256)
        ]
    return found
