"""The answers to looks, read from the wire: the same content as dnspython reads, and no fault but the known ones."""

from __future__ import annotations

import asyncio
import random
import time

import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import pytest

from dnssecd.core.dns.rrtypes import DNSKEY, SOA
from dnssecd.core.dns.tsig import TsigPeerError
from dnssecd.publish.answerform import UnwantedAnswer, is_answer
from dnssecd.publish.exchange import PeerKey
from dnssecd.publish.soa_look import ApexAnswer, ApexQuestion

KEY = PeerKey("Transfer.Key.", "hmac-sha256", b"k" * 32)
ZONE = "Example.Net."
SOA_TEXT = "ns1.EXAMPLE.net. Host.example.net. 7 3600 900 1209600 300"
RRSIG_TEXT = "{} 13 2 3600 20300101000000 20200101000000 12345 EXAMPLE.Net. c2lnbmF0dXJl"
DNSKEY_TEXT = "257 3 13 " + "A" * 88


def asked(rtype: int = SOA, key: PeerKey | None = None) -> tuple[ApexQuestion, bytes]:
    question = ApexQuestion(ZONE, rtype, time.time, dnssec=True)
    return question, question.wire(key)


def answered(wire: bytes, *sets: str, key: PeerKey | None = None, rcode: int = 0, aa: bool = True) -> bytes:
    """Return an answer as a server sends it, with names compressed."""
    query = dns.message.from_wire(wire, keyring=None if key is None else key.keyring())
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.AA if aa else 0
    answer.set_rcode(dns.rcode.Rcode(rcode))
    for text in sets:
        rtype, _, rdata = text.partition(" ")
        answer.answer.append(dns.rrset.from_text(ZONE, 3600, "IN", rtype, rdata))
    answer.authority.append(dns.rrset.from_text(ZONE, 3600, "IN", "NS", "ns1.example.net."))
    return answer.to_wire()


def read(question: ApexQuestion, item: bytes) -> ApexAnswer:
    return asyncio.run(question.read(item, 4096))


@pytest.mark.parametrize("key", [None, KEY])
def test_the_content_is_what_dnspython_reads(key: PeerKey | None) -> None:
    question, wire = asked(SOA, key)
    sets = ("SOA " + SOA_TEXT, "RRSIG " + RRSIG_TEXT.format("SOA"), "RRSIG " + RRSIG_TEXT.format("NS"))
    item = answered(wire, *sets, key=key)
    assert is_answer(item, wire)
    found = read(question, item)
    keyring = None if key is None else key.keyring()
    mac = dns.message.from_wire(wire, keyring=keyring).mac
    theirs = dns.message.from_wire(item, keyring=keyring, request_mac=mac)
    name = dns.name.from_text(ZONE)
    soa = theirs.get_rrset(theirs.answer, name, dns.rdataclass.IN, dns.rdatatype.SOA)
    rrsig = theirs.get_rrset(theirs.answer, name, dns.rdataclass.IN, dns.rdatatype.RRSIG, dns.rdatatype.SOA)
    assert [rdata.lower() for rdata in found.rdatas] == [record.to_digestable().lower() for record in soa]
    assert found.signatures == {record.to_digestable() for record in rrsig}
    assert (found.authoritative, found.rcode) == (True, "NOERROR")
    assert found.tsig_time == (theirs.tsig[0].time_signed if key else None)


def test_keys_and_other_answers() -> None:
    question, wire = asked(DNSKEY)
    found = read(question, answered(wire, "DNSKEY " + DNSKEY_TEXT))
    assert [rdata[:4].hex() for rdata in found.rdatas] == ["0101030d"]
    for rcode, text in ((5, "REFUSED"), (16, "BADVERS")):
        found = read(question, answered(wire, rcode=rcode, aa=False))
        assert (found.rdatas, found.rcode, found.authoritative) == ((), text, False)


def test_records_of_other_names_do_not_count() -> None:
    question, wire = asked()
    query = dns.message.from_wire(wire)
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text("sub.example.net.", 3600, "IN", "SOA", SOA_TEXT))
    answer.answer.append(dns.rrset.from_text(ZONE, 3600, "CH", "SOA", SOA_TEXT))
    answer.authority.append(dns.rrset.from_text(ZONE, 3600, "IN", "SOA", SOA_TEXT))
    assert read(question, answer.to_wire()).rdatas == ()


def test_an_answer_must_be_signed_as_the_question_is() -> None:
    question, wire = asked(SOA, KEY)
    item = answered(wire, "SOA " + SOA_TEXT, key=KEY)
    forged = item.replace(b"\0\0\0\x07", b"\0\0\0\x08")
    assert forged != item
    plain = answered(asked()[1], "SOA " + SOA_TEXT)
    for wrong, why in ((forged, "MAC"), (wire[:2] + plain[2:], "not signed although")):
        with pytest.raises(UnwantedAnswer, match=why):
            read(question, wrong)
    assert read(question, item).rdatas


def test_damaged_answers_raise_nothing_else() -> None:
    luck = random.Random(20261130)
    question, wire = asked()
    item = answered(wire, "SOA " + SOA_TEXT, "RRSIG " + RRSIG_TEXT.format("SOA"))
    refused = 0
    for _ in range(3000):
        damaged = bytearray(item)
        for _ in range(luck.randrange(1, 4)):
            damaged[luck.randrange(2, len(damaged))] = luck.randrange(256)
        if luck.random() < 0.3:
            del damaged[luck.randrange(12, len(damaged)) :]
        try:
            read_one(question, bytes(damaged))
        except (UnwantedAnswer, TsigPeerError):
            refused += 1
    assert 500 < refused < 3000


def read_one(question: ApexQuestion, item: bytes) -> None:
    with pytest.raises(StopIteration):
        question.read(item, 4096).send(None)
