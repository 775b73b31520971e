"""TSIG of requests and answers: dnspython as the peer, and forged messages made octet by octet (RFC 8945)."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import dns.message
import dns.rcode
import dns.tsig
import pytest

from dnssecd.core.dns import tsig
from dnssecd.core.dns.message import FORMERR, NOERROR, NOTAUTH, REFUSED, parse, parse_header
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.tsig import TsigKey, TsigRdata
from dnssecd.publish import xfrout
from dnssecd.replacing import replace
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.dispatch import Dispatcher
from dnssecd.server.interfaces import Hooks
from dnssecd.server.transfer import TransferJob
from tests.unit.server.fakes import KEY, OTHER_KEY, FakeVersion, FakeZone, small_zone

NOW = 1_700_000_000
CLIENT = ip_address("192.0.2.7")
OTHER_ORIGIN = b"\x05other\x00"
SECRET = b"a secret of some thirty-two octets"
ALGORITHMS = ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"]
QUERY = dns.message.make_query("example.", "SOA", id=0x1234).to_wire()


def dispatcher(*keys: TsigKey) -> Dispatcher:
    """Serves example. to key ``transfer.`` and other. to key ``other.``; nothing to addresses."""
    zones = {
        b"\x07example\x00": FakeZone(
            FakeVersion(small_zone(5)), ZoneAccess.make(allow_transfer=["transfer."])
        ),
        OTHER_ORIGIN: FakeZone(
            FakeVersion(small_zone(6, OTHER_ORIGIN), origin=OTHER_ORIGIN),
            ZoneAccess.make(allow_transfer=["other."]),
            OTHER_ORIGIN,
        ),
    }
    named = {key.name: key for key in keys or (KEY, OTHER_KEY)}
    return Dispatcher(zones.get, lambda: named, xfrout, lambda: NOW, Hooks())


def ask(wire: bytes, *keys: TsigKey) -> bytes:
    answer = dispatcher(*keys).handle(wire, CLIENT, "udp")
    assert isinstance(answer, bytes)
    return answer


def forged(wire: bytes = QUERY, key: TsigKey = KEY, mac: bytes | None = None, **fields) -> bytes:
    """A request with a TSIG record whose fields are as given; ``mac`` None: the right one for those fields."""
    record = TsigRdata(0, key.name, key.algorithm, NOW, 300, b"", int.from_bytes(wire[:2], "big"), 0, b"")
    record = replace(record, **fields)
    if mac is None:
        signed = record.original_id.to_bytes(2, "big") + wire[2:]
        mac = key.digest(
            signed, replace(record, name=record.name.lower(), algorithm=record.algorithm.lower()).variables()
        )
    return tsig.append(wire, replace(record, mac=mac))


def right_mac(wire: bytes = QUERY, key: TsigKey = KEY) -> bytes:
    return parse_tsig(forged(wire, key)).mac


def parse_tsig(wire: bytes) -> TsigRdata:
    record = parse(wire).tsig
    assert record is not None, "no TSIG record"
    return tsig.parse_rdata(wire, record)


def rcode(wire: bytes) -> int:
    return parse_header(wire).flags & 15


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_is_accepted_and_answered_signed(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    key = dns.tsig.Key("Transfer.", SECRET, algorithm)
    query = dns.message.make_query("example.", "SOA")
    query.use_tsig(key)
    wire = ask(query.to_wire(), TsigKey.make("transfer.", algorithm, SECRET))
    answer = dns.message.from_wire(wire, keyring=query.keyring, request_mac=query.mac)
    assert answer.had_tsig
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.answer[0][0].serial == 5


@pytest.mark.parametrize("algorithm", ["hmac-md5.sig-alg.reg.int", "hmac-md5", "gss-tsig", "none"])
def test_other_algorithms_are_refused_at_configuration(algorithm: str) -> None:
    with pytest.raises(ValueError, match="not supported"):
        TsigKey.make("transfer.", algorithm, SECRET)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_truncated_mac(algorithm: str) -> None:
    """One that RFC 8945 §5.2.2.1 allows at most is refused by policy, in an answer that is signed (§5.2.4)."""
    key = TsigKey.make("transfer.", algorithm, SECRET)
    whole = right_mac(key=key)
    shortest = max(10, len(whole) // 2)
    for size in range(len(whole) + 1):
        answer = ask(forged(key=key, mac=whole[:size]), key)
        if size == len(whole):
            assert rcode(answer) == NOERROR
        elif size < shortest:
            assert rcode(answer) == FORMERR, size
        else:
            record = parse_tsig(answer)
            assert (rcode(answer), record.error, len(record.mac)) == (NOTAUTH, tsig.BADTRUNC, len(whole)), (
                size
            )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_truncated_mac_that_is_wrong_is_no_more_than_wrong(algorithm: str) -> None:
    key = TsigKey.make("transfer.", algorithm, SECRET)
    wrong = bytes(max(10, key.mac_size // 2))
    record = parse_tsig(ask(forged(key=key, mac=wrong), key))
    assert (record.error, record.mac) == (tsig.BADSIG, b"")


@pytest.mark.parametrize(
    ("fudge", "off", "good"),
    [
        (300, 300, True),
        (300, 301, False),
        (65_535, 300, True),
        (65_535, 301, False),
        (5, 6, False),
        (0, 0, True),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_sender_cannot_stretch_the_fudge(fudge: int, off: int, good: bool, sign: int) -> None:
    answer = ask(forged(fudge=fudge, time_signed=NOW + sign * off))
    expected = (NOERROR, 0) if good else (NOTAUTH, tsig.BADTIME)
    assert (rcode(answer), parse_tsig(answer).error) == expected


@pytest.mark.parametrize("extra", [1, 16, 1000])
def test_mac_longer_than_the_hash(extra: int) -> None:
    answer = ask(forged(mac=right_mac() + bytes(extra)))
    assert rcode(answer) == FORMERR
    assert parse(answer).tsig is None


@pytest.mark.parametrize("error", [16, 17, 18, 22])
@pytest.mark.parametrize("mac", [b"", None])
def test_request_that_carries_a_tsig_error(error: int, mac: bytes | None) -> None:
    answer = ask(forged(mac=mac, error=error))
    assert rcode(answer) in (FORMERR, NOTAUTH)
    assert parse_header(answer).counts[1] == 0


@pytest.mark.parametrize("skew", [-301, 301, -NOW, 2**47])
def test_time_beyond_fudge(skew: int) -> None:
    request = forged(time_signed=NOW + skew)
    answer = ask(request)
    record = parse_tsig(answer)
    assert rcode(answer) == NOTAUTH
    assert (record.error, record.other) == (tsig.BADTIME, NOW.to_bytes(6, "big"))
    assert record.time_signed == NOW + skew
    prior = parse_tsig(request).mac
    expected = KEY.digest(
        len(prior).to_bytes(2, "big") + prior, tsig.strip(answer, record), record.variables()
    )
    assert record.mac == expected


@pytest.mark.parametrize("skew", [-300, 0, 300])
def test_time_within_fudge(skew: int) -> None:
    assert rcode(ask(forged(time_signed=NOW + skew))) == NOERROR


def test_mac_is_checked_before_time() -> None:
    record = parse_tsig(ask(forged(mac=bytes(32), time_signed=1)))
    assert (record.error, record.mac) == (tsig.BADSIG, b"")


def test_forged_mac_is_badsig_unsigned() -> None:
    answer = ask(forged(mac=bytes(32)))
    record = parse_tsig(answer)
    assert (rcode(answer), record.error, record.mac) == (NOTAUTH, tsig.BADSIG, b"")


def test_unknown_key_is_badkey_unsigned() -> None:
    stranger = replace(KEY, name=text_to_wire("stranger."))
    answer = ask(forged(key=stranger))
    record = parse_tsig(answer)
    assert (rcode(answer), record.error, record.mac) == (NOTAUTH, tsig.BADKEY, b"")


@pytest.mark.parametrize(
    "algorithm",
    [
        text_to_wire("hmac-sha512."),
        text_to_wire("hmac-md5.sig-alg.reg.int."),
        b"\x00",
        b"\x08\xff\x00\x01\x80\xc0.\\a\x00",
        (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\x00",
    ],
    ids=["other", "md5", "root", "random", "255 octets"],
)
def test_known_key_with_another_algorithm(algorithm: bytes) -> None:
    answer = ask(forged(algorithm=algorithm, mac=bytes(32)))
    record = parse_tsig(answer)
    assert (rcode(answer), record.error, record.mac) == (NOTAUTH, tsig.BADKEY, b"")
    assert record.algorithm == algorithm


def test_key_and_algorithm_names_in_mixed_case() -> None:
    request = forged(name=b"\x08TrAnSfEr\x00", algorithm=text_to_wire("hmac-sha256").replace(b"sha", b"ShA"))
    assert b"TrAnSfEr" in request
    assert rcode(ask(request)) == NOERROR


def test_digest_uses_the_original_id() -> None:
    request = forged(original_id=0x4321)
    assert rcode(ask(request)) == NOERROR
    renumbered = b"\xab\xcd" + forged()[2:]
    answer = ask(renumbered)
    assert (answer[:2], rcode(answer)) == (b"\xab\xcd", NOERROR)


def test_answer_of_a_forwarded_request_is_signed_over_its_own_id() -> None:
    answer = ask(b"\xab\xcd" + forged()[2:])
    verifier = tsig.AnswerVerifier(KEY, right_mac())
    verifier.accept(answer, NOW)
    verifier.finish()


def with_record(wire: bytes, record: bytes, section: int) -> bytes:
    """The message with one more record counted in ``section`` (1 answer, 2 authority, 3 additional)."""
    at = 4 + 2 * section
    count = int.from_bytes(wire[at : at + 2], "big") + 1
    return wire[:at] + count.to_bytes(2, "big") + wire[at + 2 :] + record


def the_record(**fields) -> bytes:
    return forged(**fields)[len(QUERY) :]


A_RECORD = b"\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04"


@pytest.mark.parametrize(
    "request_wire",
    [
        with_record(forged(), A_RECORD, 3),
        with_record(forged(), the_record(), 3),
        with_record(QUERY, the_record(), 1),
        with_record(QUERY, the_record(), 2),
        with_record(QUERY, the_record().replace(b"\x00\xfa\x00\xff", b"\x00\xfa\x00\x01"), 3),
        with_record(QUERY, the_record().replace(b"\xff\x00\x00\x00\x00", b"\xff\x00\x00\x00\x01"), 3),
    ],
    ids=["not last", "doubled", "answer", "authority", "class IN", "TTL 1"],
)
def test_misplaced_tsig_is_formerr(request_wire: bytes) -> None:
    answer = ask(request_wire)
    assert rcode(answer) == FORMERR
    assert parse(answer).tsig is None


@pytest.mark.parametrize("cut", [1, 2, 5, 6, 7, 16, 17, 31, 48])
def test_tsig_rdata_cut_short(cut: int) -> None:
    """RDLENGTH agrees with what is there, the lengths inside do not."""
    record = the_record()
    head = len(KEY.name) + 8
    size = int.from_bytes(record[head : head + 2], "big") - cut
    shorter = record[:head] + size.to_bytes(2, "big") + record[head + 2 :][:size]
    assert rcode(ask(with_record(QUERY, shorter, 3))) == FORMERR


def test_key_of_one_zone_on_another_is_refused_and_signed() -> None:
    answer = ask(forged(key=OTHER_KEY))
    assert rcode(answer) == REFUSED
    verifier = tsig.AnswerVerifier(OTHER_KEY, right_mac(key=OTHER_KEY))
    verifier.accept(answer, NOW)
    verifier.finish()


@pytest.mark.parametrize("rtype", ["SOA", "DNSKEY", "AXFR"])
def test_no_tsig_where_one_is_demanded_is_refused(rtype: str) -> None:
    assert rcode(ask(dns.message.make_query("example.", rtype).to_wire())) == REFUSED


def test_notify_without_tsig_is_refused() -> None:
    message = dns.message.make_query("example.", "SOA")
    message.set_opcode(4)
    assert rcode(ask(message.to_wire())) == REFUSED


def transfer_messages(hosts: int, key: TsigKey = KEY) -> tuple[list[bytes], bytes]:
    """The signed messages of an AXFR, and the MAC of the request."""
    rrsets = small_zone(5) + [host(n) for n in range(hosts)]
    zone = FakeZone(FakeVersion(rrsets), ZoneAccess.make(allow_transfer=["transfer."]))
    made = Dispatcher({zone.origin: zone}.get, lambda: {key.name: key}, xfrout, lambda: NOW, Hooks())
    wire, mac = tsig.sign_request(dns.message.make_query("example.", "AXFR").to_wire(), key, NOW)
    job = made.handle(wire, CLIENT, "tcp")
    assert isinstance(job, TransferJob)
    job.open()
    messages = []
    while not job.finished:
        messages += [message[2:] for message in job.next_slice()]
    job.close()
    return messages, mac


def host(number: int):
    from dnssecd.core.dns.rrset import RRset, pack

    return RRset(b"h%06d\x00" % number, 16, 3600, pack([b"\x40" + b"t" * 64]))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_message_of_a_transfer_is_signed(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified twice: by dnspython, whose code is not ours, and by our own receiver."""
    monkeypatch.setattr("time.time", lambda: NOW)
    key = TsigKey.make("transfer.", algorithm, SECRET)
    messages, mac = transfer_messages(1000, key)
    assert len(messages) > 3
    keyring = {dns.name.from_text("transfer."): dns.tsig.Key("transfer.", SECRET, algorithm)}
    context, verifier = None, tsig.AnswerVerifier(key, mac)
    for wire in messages:
        answer = dns.message.from_wire(wire, keyring, mac, xfr=True, tsig_ctx=context, multi=True)
        assert answer.had_tsig
        context = answer.tsig_ctx
        verifier.accept(wire, NOW)
    verifier.finish()


def test_receiver_takes_up_to_99_unsigned_messages_and_never_an_unsigned_last() -> None:
    plain = [number.to_bytes(2, "big") + QUERY[2:] for number in range(202)]
    request_mac = bytes(32)

    def stream(signed: set[int]) -> list[bytes]:
        prior, pending, out = request_mac, b"", []
        for number, wire in enumerate(plain):
            if number not in signed:
                out.append(wire)
                pending += wire
                continue
            record = TsigRdata(0, KEY.name, KEY.algorithm, NOW, 300, b"", number, 0, b"")
            last = record.timers() if number else record.variables()
            prior_prefixed = len(prior).to_bytes(2, "big") + prior
            prior = KEY.digest(prior_prefixed + pending + wire + last)
            pending = b""
            out.append(tsig.append(wire, replace(record, mac=prior)))
        return out

    def receive(messages: list[bytes]) -> None:
        verifier = tsig.AnswerVerifier(KEY, request_mac)
        for wire in messages:
            verifier.accept(wire, NOW)
        verifier.finish()

    receive(stream({0, 100, 200, 201}))
    with pytest.raises(tsig.TsigError, match="99"):
        receive(stream({0, 101, 201}))
    with pytest.raises(tsig.TsigError, match="last message"):
        receive(stream({0, 100, 200}))
    with pytest.raises(tsig.TsigError, match="first message"):
        receive(stream({1, 100, 201}))
    tampered = stream({0, 100, 200, 201})
    tampered[50] = tampered[50][:-1] + bytes([tampered[50][-1] ^ 1])
    with pytest.raises(tsig.TsigError, match="MAC is wrong"):
        receive(tampered)
    swapped = stream({0, 100, 200, 201})
    swapped[50], swapped[51] = swapped[51], swapped[50]
    with pytest.raises(tsig.TsigError, match="MAC is wrong"):
        receive(swapped)


@pytest.mark.parametrize("size", range(65_100, 65_536, 29))
def test_room_is_left_in_a_message_that_would_be_full(size: int) -> None:
    """One TXT RR that makes the message ``size`` octets without TSIG: it fits with it, or is refused as too big."""
    from dnssecd.core.dns.rrset import RRset, pack

    overhead = 12 + 13 + len(b"\x03big\xc0\x0c") + 10
    rdata = bytes(size - overhead)
    version = FakeVersion([*small_zone(5), RRset(b"big\x00", 65280, 60, pack([rdata]))])
    question = b"\x07example\x00\x00\xfc\x00\x01"
    try:
        messages = list(xfrout.axfr(version, 1, 0x8400, question, KEY.record_size).messages)
    except xfrout.RecordTooBig:
        assert 12 + len(b"\x03big\x07example\x00") + 10 + len(rdata) + KEY.record_size > 65_535
        return
    signer = tsig.AnswerSigner(parse_tsig(forged()), KEY)
    sealed = [signer.sign(message, NOW) for message in messages]
    assert max(map(len, sealed)) <= 65_535
    assert sum(parse_header(message).counts[1] for message in sealed) == 5


@pytest.mark.parametrize(("qtype", "expected"), [("TKEY", 4), ("TSIG", 1), ("OPT", 1), ("MAILA", 1)])
def test_meta_types_are_turned_away(qtype: str, expected: int) -> None:
    assert rcode(ask(dns.message.make_query("example.", qtype).to_wire())) == expected


def test_sig0_is_refused() -> None:
    signature = b"\x00\x00\x18\x00\xff\x00\x00\x00\x00\x00\x13" + bytes(19)
    assert rcode(ask(with_record(QUERY, signature, 3))) == REFUSED


def test_deferred_answer_is_signed() -> None:
    async def handler(zone, request) -> int:
        assert request.key == KEY.name
        assert request.wire == wire
        return 0

    wire = bytearray(QUERY)
    wire[2] = 0x28  # UPDATE
    wire = bytes(wire)
    zone = FakeZone(FakeVersion(small_zone(5)), ZoneAccess.make(update_keys=["transfer."]))
    made = Dispatcher(
        {zone.origin: zone}.get, lambda: {KEY.name: KEY}, xfrout, lambda: NOW, Hooks(), None, handler
    )
    signed, mac = tsig.sign_request(wire, KEY, NOW)

    async def answered() -> bytes:
        return await made.handle(signed, CLIENT, "udp")

    answer = asyncio.run(answered())
    verifier = tsig.AnswerVerifier(KEY, mac)
    verifier.accept(answer, NOW)
    verifier.finish()
