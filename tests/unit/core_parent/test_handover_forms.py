"""Every form of a hand-over, judged by others: dnspython's RDATA, BIND's own tools, the schema of RFC 5910."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import dns.dnssec
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import signing_view
from dnssecd.core.keys.keystate import State
from dnssecd.core.parent import forms as forms
from dnssecd.core.parent.handover import Change, Handover, ParentKey, Task, handover_of
from tests.unit.core_parent import keysets
from tests.unit.core_parent.keysets import NOW, ZONE

EPP = "{urn:ietf:params:xml:ns:epp-1.0}"
SECDNS = "{urn:ietf:params:xml:ns:secDNS-1.1}"
DOMAIN = "{urn:ietf:params:xml:ns:domain-1.0}"
#: Order of elements: RFC 5910 section 4 (schema), dsDataType and keyDataType.
DS_DATA = ["keyTag", "alg", "digestType", "digest"]
KEY_DATA = ["flags", "protocol", "alg", "pubKey"]


def replaced() -> Handover:
    return handover_of(ZONE, keysets.replaced())


def parsed(lines: list[str]) -> list[dns.rrset.RRset]:
    found = []
    for line in lines:
        owner, _, rtype, rest = line.split(None, 3)
        found.append(dns.rrset.from_text(owner, 300, "IN", rtype, rest))
    return found


@pytest.mark.parametrize(
    ("make", "task"),
    [
        (keysets.fresh, Task.NOTHING),
        (keysets.submit, Task.SUBMIT),
        (keysets.in_place, Task.NOTHING),
        (keysets.replaced, Task.REPLACE),
        (keysets.withdrawn, Task.WITHDRAW),
        (keysets.insecure, Task.REMOVE_ALL),
        (keysets.lost, Task.RESTORE),
    ],
)
def test_task(make: object, task: Task) -> None:
    assert handover_of(ZONE, make()).task is task  # type: ignore[operator]


def test_what_is_seen_everywhere_is_asked_for_no_more() -> None:
    settling = keysets.keyset(keysets.with_ds(keysets.key(1), State.RUMOURED, seen=NOW + 9))
    assert handover_of(ZONE, settling).task is Task.NOTHING
    assert handover_of(ZONE, settling).ds_set() != ()
    fading = keysets.keyset(keysets.with_ds(keysets.key(1), State.UNRETENTIVE, seen=NOW + 9))
    assert handover_of(ZONE, fading).keys == ()


@pytest.mark.parametrize(
    "make", [keysets.submit, keysets.replaced, keysets.withdrawn, keysets.insecure, keysets.in_place]
)
def test_the_set_and_cds_are_those_the_zone_publishes(make: object) -> None:
    keyset = make()  # type: ignore[operator]
    handover, view = handover_of(ZONE, keyset), signing_view(keyset)
    cds = [
        r.to_digestable() for rrset in parsed(forms.cds_lines(handover)) for r in rrset if rrset.rdtype == 59
    ]
    cdnskey = [
        r.to_digestable() for rrset in parsed(forms.cds_lines(handover)) for r in rrset if rrset.rdtype == 60
    ]
    assert tuple(sorted(cds)) == view.cds
    assert tuple(sorted(cdnskey)) == view.cdnskey
    assert handover.ds_set() == (() if handover.task is Task.REMOVE_ALL else view.cds)


def test_ds_is_what_dnspython_makes_of_the_dnskey() -> None:
    handover = replaced()
    for key in handover.keys:
        (dnskey,) = parsed(forms.dnskey_lines(handover, [key]))
        made = [
            dns.dnssec.make_ds(dns.name.from_text(ZONE), dnskey[0], digest).to_text().upper()
            for digest in ("SHA256", "SHA384")
        ]
        ours = [rrset[0].to_text().upper() for rrset in parsed(forms.ds_lines(handover, [key]))]
        assert ours == made


@pytest.mark.skipif(shutil.which("dnssec-signzone") is None, reason="BIND's tools are not installed")
def test_dsset_is_the_file_that_bind_writes(tmp_path: Path) -> None:
    def run(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)

    run("dnssec-keygen", "-q", "-a", "13", "-f", "KSK", "example.com")
    run("dnssec-keygen", "-q", "-a", "13", "example.com")
    (tmp_path / "zone").write_text("$TTL 300\n@ SOA a b 1 1 1 1 1\n@ NS a\na A 192.0.2.1\n")
    run("dnssec-signzone", "-q", "-S", "-o", "example.com", "zone")
    key_line = next(
        line
        for path in tmp_path.glob("K*.key")
        for line in path.read_text().splitlines()
        if " DNSKEY 257 " in line
    )
    rdata = dns.rrset.from_text(ZONE, 300, "IN", "DNSKEY", key_line.split(" DNSKEY ")[1])[0].to_digestable()
    handover = Handover(ZONE, text_to_wire(ZONE), (ParentKey(rdata, "ksk", Change.ADD),), NOW)
    assert forms.dsset_lines(handover) == (tmp_path / "dsset-example.com.").read_text().splitlines()


def changes(lines: list[str]) -> dict[str, list[list[tuple[str, str]]]]:
    """rem and add of an EPP update, in order: each a list of data, each a list of (element, text)."""
    root = ElementTree.fromstring("\n".join(lines).encode())
    assert root.tag == EPP + "epp"
    name = root.find(f"{EPP}command/{EPP}update/{DOMAIN}update/{DOMAIN}name")
    assert name is not None
    assert name.text == "example.com"
    update = root.find(f"{EPP}command/{EPP}extension/{SECDNS}update")
    assert update is not None
    return {
        part.tag.removeprefix(SECDNS): [
            [(field.tag.removeprefix(SECDNS), field.text or "") for field in data] for data in part
        ]
        for part in update
    }


def test_epp_ds_data() -> None:
    handover = replaced()
    found = changes(forms.epp_ds(handover))
    assert list(found) == ["rem", "add"]
    for part, key in (("rem", keysets.key(1)), ("add", keysets.key(2))):
        (data,) = found[part]
        assert [field for field, _ in data] == DS_DATA
        assert data[0][1] == str(key.tag)
        assert dict(data)["digest"] in forms.ds_lines(handover, handover.keys)[0 if part == "rem" else 2]


def test_epp_key_data() -> None:
    found = changes(forms.epp_key(replaced()))
    assert [field for field, _ in found["add"][0]] == KEY_DATA
    assert dict(found["add"][0])["pubKey"] in forms.dnskey_text(keysets.key(2).rdata)


def test_epp_removes_all() -> None:
    lines = forms.epp_ds(handover_of(ZONE, keysets.insecure()))
    assert "        <secDNS:all>true</secDNS:all>" in [
        line.replace("      <", "        <", 1) for line in lines
    ]
    assert list(changes(lines)) == ["rem"]


def test_a_name_that_xml_minds_is_escaped() -> None:
    handover = Handover("a&b<c.example.", text_to_wire("a&b<c.example."), (), NOW)
    root = ElementTree.fromstring("\n".join(forms.epp_ds(handover)).encode())
    assert root.findtext(f".//{DOMAIN}name") == "a&b<c.example"


def test_json_is_the_document() -> None:
    for make in (keysets.fresh, keysets.submit, keysets.replaced, keysets.insecure):
        handover = handover_of(ZONE, make())
        assert json.loads("\n".join(forms.json_lines(handover))) == forms.document(handover)


def test_the_document_names_the_whole_set_and_every_change() -> None:
    found = forms.document(replaced())
    assert [ds["key_tag"] for ds in found["ds"]] == [keysets.key(2).tag]
    assert {key["key_tag"]: key["change"] for key in found["keys"]} == {
        keysets.key(1).tag: "remove",
        keysets.key(2).tag: "add",
    }
    assert [ds["digest_type"] for ds in found["keys"][0]["ds"]] == [2, 4]


def test_every_algorithm_of_the_policy_has_its_name() -> None:
    from dnssecd.config.algorithms import ALGORITHMS, EXPERIMENTAL

    known = {**ALGORITHMS, **EXPERIMENTAL}
    assert {name.upper(): number for name, number in known.items()} == {
        name: number for number, name in forms.ALGORITHM_NAMES.items()
    }


def test_the_same_request_is_known_again_although_time_passed() -> None:
    assert replaced().same_request(handover_of(ZONE, keysets.replaced(), grace_s=7, reason="x"))
    assert not replaced().same_request(handover_of(ZONE, keysets.submit()))
    assert not replaced().same_request(None)
