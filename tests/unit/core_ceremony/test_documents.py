"""Requests and responses as text: what is written is read back, what is changed is refused."""

import hashlib
import json
from random import Random

import pytest

from dnssecd.core.ceremony.bundles import (
    EndMissing,
    form_of,
    read_bundles_request,
    read_bundles_response,
    write_bundles_request,
    write_bundles_response,
)
from dnssecd.core.ceremony.request import BadDocument, read_request, write_request
from dnssecd.core.ceremony.response import read_response, write_response
from dnssecd.core.dns.key_records import BadRecord, records
from tests.unit.core_ceremony.world import DAY, NOW, make_request, signed


def test_a_request_is_read_as_it_was_written():
    request = make_request()
    again = read_request(write_request(request))
    assert again == request
    assert again.digest == request.digest


def test_a_response_is_read_as_it_was_written():
    response = signed(make_request())
    again = read_response(write_response(response))
    assert again == response
    assert again.digest == response.digest


@pytest.mark.parametrize("form", ["knot", "bind"])
def test_bundles_have_the_hash_of_their_file(form):
    """Two people compare it, hours apart: it does not depend on when the file is read."""
    request, response = make_request(), signed(make_request())
    for text, read in (
        (
            write_bundles_request(request, form, NOW),
            lambda text, now: read_bundles_request(
                text, ttl=1, validity_s=10**6, now=now, stop=request.stop + 1
            ),
        ),
        (write_bundles_response([(NOW, response.sets)], request.zone, form, NOW), read_bundles_response),
    ):
        assert form_of(text) == form
        for now in (NOW, NOW + 1):
            assert read(text, now).digest == hashlib.sha256(text.encode()).digest()


def test_a_request_in_binds_form_ends_when_it_is_said():
    request = make_request()
    text = write_bundles_request(request, "bind", NOW)
    with pytest.raises(EndMissing, match="does not say when"):
        read_bundles_request(text, ttl=1, validity_s=14 * DAY, now=NOW)
    with pytest.raises(BadDocument, match="after the given end"):
        read_bundles_request(text, ttl=1, validity_s=14 * DAY, now=NOW, stop=request.stop)
    for days in (1, 100):
        stop = request.stop + days * DAY
        again = read_bundles_request(text, ttl=1, validity_s=14 * DAY, now=NOW, stop=stop)
        assert again.stop == stop
        assert again.slots[-1].expiration >= stop
        assert again.slots[-1].sets == (request.plan[-1].zsks,)


@pytest.mark.parametrize("change", [
    lambda body: body.update(zone="example.net."),
    lambda body: body["slots"][0].update(expiration="2027-12-24T00:00:00Z"),
    lambda body: body["slots"][0]["sets"].append(["zsk1"]),
    lambda body: body.update(previous="00"),
    lambda body: body.update(cds_sets=[]),
])  # fmt: skip
def test_every_change_of_a_request_changes_its_hash(change):
    request = make_request()
    document = json.loads(write_request(request))
    change(document["request"])
    assert read_request(json.dumps(document)).digest != request.digest


@pytest.mark.parametrize(("change", "reason"), [
    (lambda d: d.update(version=2), "version 2"),
    (lambda d: d.update(format="dnssecd-skr"), "format"),
    (lambda d: d.pop("request"), "request"),
    (lambda d: d["request"].update(more=1), "does not know"),
    (lambda d: d["request"].update(number=-1), "number"),
    (lambda d: d["request"].update(number=True), "number"),
    (lambda d: d["request"].update(cds=1), "cds"),
    (lambda d: d["request"].pop("cds_sets"), "cds_sets"),
    (lambda d: d["request"].update(cds_sets=[["ksk2"]]), "ksk2"),
    (lambda d: d["request"].update(cds_sets=[["ksk1"]] * 65), "cds_sets"),
    (lambda d: d["request"]["ksk"][0].update(dnskey=d["request"]["zsk"][0]["dnskey"]), "tag is"),
    (lambda d: d["request"].update(zone="a..b"), "zone"),
    (lambda d: d["request"]["zsk"][0].update(tag=1), "tag is"),
    (lambda d: d["request"]["zsk"][0].update(dnskey="257" + d["request"]["zsk"][0]["dnskey"][3:]), "tag is"),
    (lambda d: d["request"]["zsk"][0].update(dnskey="256 3 13 ***"), "base64"),
    (lambda d: d["request"]["slots"][0].update(inception="yesterday"), "inception"),
    (lambda d: d["request"]["slots"][0].update(sets=[["zsk9"]]), "zsk9"),
    (lambda d: d["request"]["slots"][0].update(sets=[]), "sets"),
    (lambda d: d.update(proofs=[{"tag": 1, "algorithm": 13, "signature": "xx"}]), "hex"),
])  # fmt: skip
def test_what_is_no_request_is_refused_with_its_place(change, reason):
    document = json.loads(write_request(make_request()))
    change(document)
    with pytest.raises(BadDocument, match=reason):
        read_request(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"x"', "[" * 100_000])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(BadDocument):
        read_request(text)


@pytest.mark.parametrize("text", [
    "example.com. 3600 DNSKEY 256 3 13 (\nAAAA",
    "example.com. 3600 A 192.0.2.1",
    "example.com. 3600 DNSKEY 70000 3 13 AAAA",
    "example.com. 3600 DNSKEY 256 3",
    "example.com. 3600 RRSIG A 13 2 3600 20261204212949 20261129195949 1 example.com. AAAA",
    "example.com. 3600 RRSIG DNSKEY 13 2 3600 20261399212949 20261129195949 1 example.com. AAAA",
    "example.com. 3600 CDS 1 13 2 XY",
    "a..b. 3600 DNSKEY 256 3 13 AAAA",
    "example.com. DNSKEY 256 3 13 (" + "A" * 10_000,
])  # fmt: skip
def test_what_is_no_record_is_refused_with_its_line(text):
    with pytest.raises(BadRecord, match="line 1"):
        list(records(text))


def mutated(text: str, rng: Random) -> str:
    """Return a text with some characters changed, dropped, or a piece repeated."""
    for _ in range(rng.randrange(1, 4)):
        at, end = sorted(rng.randrange(len(text)) for _ in range(2))
        piece = rng.choice(
            ('"', "[", "}", "0", "-1", "9" * 30, "null", "\x00", "é", "(", ";;", text[at : at + 40])
        )
        text = text[:at] + piece + text[rng.choice((at, at + 1, min(end, at + 60))) :]
    return text


def test_a_damaged_file_is_refused_and_nothing_else_happens():
    request, response = make_request(), signed(make_request())
    rng = Random(15)
    ours = (write_request(request), write_response(response))
    theirs = (
        write_bundles_request(request, "knot", NOW),
        write_bundles_response([(NOW, response.sets)], request.zone, "bind", NOW),
    )
    readers = (read_request, read_response, lambda text: read_bundles_request(text, ttl=1, validity_s=10**6, now=NOW),
               lambda text: read_bundles_response(text, NOW))  # fmt: skip
    refused = 0
    for text, read in zip(ours + theirs, readers, strict=True):
        for _ in range(60):
            try:
                read(mutated(text, rng))
            except BadDocument:
                refused += 1
    assert refused > 100
