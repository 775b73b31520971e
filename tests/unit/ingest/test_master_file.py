"""Master-file syntax: what is read, and what is refused where and why (RFC 1035 §5, RFC 2308 §4, RFC 3597 §5)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dnssecd.ingest.errors import FileChanged, ZoneFileErrors
from dnssecd.ingest.limits import Limits
from dnssecd.ingest.reader import Reader
from dnssecd.ingest.zonefile import parse_zone_file
from tests.unit.ingest.zones import HEAD, ORIGIN, faults, lines, parse, rdata

LONGEST = ".".join(["y" * 63] * 3 + ["z" * 49])

GOOD = {
    "owner omitted": ("a A 192.0.2.2\n  A 192.0.2.3\n", ["a A 192.0.2.2", "a A 192.0.2.3"]),
    "TTL and class in either order": (
        "a 5 IN A 192.0.2.2\nb IN 6 A 192.0.2.2\nc 7 A 192.0.2.2\n",
        ["a 5 A 192.0.2.2", "b 6 A 192.0.2.2", "c 7 A 192.0.2.2"],
    ),
    "TTL units": ("a 1w2d3h4m5s A 192.0.2.2\nb 1H A 192.0.2.2\n", ["a 788645 A 192.0.2.2", "b 3600 A 192.0.2.2"]),
    "parentheses over lines": ("a ( MX\n 10 ; comment (\n\n mail ) ; end\n", ["a MX 10 mail.example.com."]),
    "owner in parentheses": ("( a\nA 192.0.2.2 )\n", ["a A 192.0.2.2"]),
    "quotes and escapes": (
        'a TXT "x;y" "(" a\\;b "\\"q\\\\" \\065\n', ['a TXT "x;y" "(" "a;b" "\\"q\\\\" "A"']),
    "a quote right after a word": ('a TXT x"y z"\n', ['a TXT "x" "y z"']),
    "a quoted line end": ('a TXT "x\\\ny"\n', ['a TXT "x\\010y"']),
    "non-ASCII octets as they are": ("a TXT \"\xe9\" \\\xe9\nb\xe9 A 192.0.2.2\n".encode("latin-1"),
                                     ['a TXT "\\233" "\\233"', "b\\233 A 192.0.2.2"]),
    "escaped dot in an owner": ("a\\.b A 192.0.2.2\n", ["a\\.b A 192.0.2.2"]),
    "$ORIGIN, relative and absolute": (
        "$ORIGIN sub\na CNAME b\n$ORIGIN example.com.\nc CNAME @\n$origin .\nd.example.com CNAME .\n",
        ["c CNAME example.com.", "d CNAME .", "a.sub CNAME b.sub.example.com."],
    ),
    "names of RDATA follow $ORIGIN": (
        "a CNAME x\n$ORIGIN sub\nb CNAME x\n", ["a CNAME x.example.com.", "b.sub CNAME x.sub.example.com."]),
    "$TTL later on": ("a A 192.0.2.2\n$TTL 1d\nb A 192.0.2.2\n", ["a A 192.0.2.2", "b 86400 A 192.0.2.2"]),
    "RFC 3597": (
        "a TYPE65280 \\# 3 ( 01 02\n 03 )\nb CLASS1 TYPE1 \\# 4 C0000202\nc A \\# 4 C0 00 02 02\nd TYPE731 \\# 0\n",
        ["a TYPE65280 \\# 3 010203", "b A 192.0.2.2", "c A 192.0.2.2", "d TYPE731 \\# 0"],
    ),
    "lower-cased where RFC 4034 says so": (
        "A mx 10 MAIL\nb TYPE64 \\# 6 0001 02 4142 00\n", ["a MX 10 mail.example.com.", "b SVCB 1 AB."]),
    "case-only duplicates merge": ("a NS X\nA NS x\n", ["a NS x.example.com."]),
    "ZONEMD below the apex, reserved numbers too": (
        "a ZONEMD 1 0 0 " + "ab" * 12 + "\nb ZONEMD 1 1 1 ( " + "ab" * 24 + " " + "cd" * 24 + " )\n",
        ["a ZONEMD 1 0 0 " + "AB" * 12, "b ZONEMD 1 1 1 " + "AB" * 24 + "CD" * 24],
    ),
    "CR LF": ("a A 192.0.2.2\r\nb TXT (\r\n \"x\" )\r\n", ["a A 192.0.2.2", 'b TXT "x"']),
    "255 octets of name": (f"{LONGEST} A 192.0.2.2\n", [f"{LONGEST} A 192.0.2.2"]),
    "out of zone is ignored": (
        "www.example.org. A 192.0.2.2\nxexample.com. A 192.0.2.2\na A 192.0.2.2\n", ["a A 192.0.2.2"]),
    "DS at the apex is ignored": ("@ DS 1 13 2 " + "00" * 32 + "\n", []),
    "$GENERATE": (
        "$GENERATE 8-10/2 h$ 60 IN A 192.0.2.$\n$GENERATE 1-1 ${0,3,d}-${10,2,x}-${-1}-${171,7,n} CNAME \\$$$\n"
        '$GENERATE 1-2 m MX "$ mx$"\n',
        ["001-0b-0-c.a.0.0 CNAME \\$\\$.example.com.", "h10 60 A 192.0.2.10", "h8 60 A 192.0.2.8",
         "m MX 1 mx1.example.com.", "m MX 2 mx2.example.com."],
    ),
    "$GENERATE with signs": ('$GENERATE 1-1 g$ TXT "${+100,0,d} ${5,+3,d} ${-1,+2,x}"\n',
                             ['g1 TXT "101" "006" "00"']),
    "$GENERATE leaves the last owner": ("a A 192.0.2.2\n$GENERATE 1-1 g$ A 192.0.2.3\n  TXT x\n",
                                        ["a A 192.0.2.2", 'a TXT "x"', "g1 A 192.0.2.3"]),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_accepted(tmp_path: Path, case: str) -> None:
    text, expected = GOOD[case]
    zone = parse(tmp_path, HEAD.encode() + (text if isinstance(text, bytes) else text.encode()))
    assert [_short(line) for line in lines(zone)] == expected


def _short(line: str) -> str:
    return line.replace(".example.com. ", " ", 1).replace(" 300 IN ", " ").replace(" IN ", " ")


BAD = {
    "unbalanced (": ("a TXT ( x\nb A 192.0.2.2\n", 5, "an opening parenthesis has no closing one"),
    "unbalanced )": ("a TXT x )\n", 5, "a closing parenthesis has no opening one"),
    "open quote": ('a TXT "x\n', 5, "a quoted string is not closed on its line"),
    "backslash at the end": ("a TXT x\\\n", 5, "a backslash ends the line"),
    "escape above 255": ("a TXT \\256\n", 5, "bad escape \\256"),
    "escape above 255 in an owner": ("a\\999 A 192.0.2.2\n", 5, "bad escape \\999"),
    "escape of one digit": ("a TXT \\1\n", 5, "bad escape \\1"),
    "NUL": (b"a TXT x\x00y\n", 5, "the line holds a NUL octet: this is not a text file"),
    "UTF-16": ("a TXT x\n".encode("utf-16-be"), 5, "the line holds a NUL octet: this is not a text file"),
    "wrong class": ("a CH A 192.0.2.2\n", 5, "class CH in a zone of class IN"),
    "wrong class by number": ("a CLASS3 A 192.0.2.2\n", 5, "class CLASS3 in a zone of class IN"),
    "unknown type": ("a NOPE x\n", 5, "unknown type NOPE"),
    "meta type": ("a AXFR x\n", 5, "type AXFR cannot be in a zone"),
    "type 0": ("a TYPE0 \\# 0\n", 5, "type TYPE0 cannot be in a zone"),
    "no type": ("a 300 IN\n", 5, "the record ends before its type"),
    "TTL too large": ("a 2147483648 A 192.0.2.2\n", 5, "TTL 2147483648 exceeds 2147483647 (RFC 2181 §8)"),
    "$TTL too large": ("$TTL 4294967296\n", 5, "TTL 4294967296 exceeds 2147483647 (RFC 2181 §8)"),
    "no TTL": ("$TTL x\n", 5, "x is not a TTL"),
    "second SOA": ("@ SOA ns hostmaster 8 3600 600 86400 300\n", 5, "a second SOA record"),
    "SOA below the apex": ("a SOA ns hostmaster 8 3600 600 86400 300\n", 5, "an SOA record below the apex"),
    "empty label": ("a..b A 192.0.2.2\n", 5, "the name a..b has an empty label"),
    "long label": ("x" * 64 + " A 192.0.2.2\n", 5, f"the name {'x' * 57}... has a label longer than 63 octets"),
    "long name": (f"{LONGEST}z A 192.0.2.2\n", 5,
                  f"the name {'y' * 57}... is longer than 255 octets"),
    "quoted owner": ('"a" A 192.0.2.2\n', 5, 'a quoted string instead of a name: "a"'),
    "RDATA missing": ("a MX 10\n", 5, "bad MX RDATA 10: MAIL-SERVER is missing"),
    "RDATA left over": ("a A 192.0.2.2 x\n", 5, "bad A RDATA 192.0.2.2 x: a word too many: x"),
    "generic RDATA of wrong length": ("a A \\# 0\n", 5, "bad A RDATA \\\\# 0: "),
    "type without a parser": ("a MD x\n", 5, "RDATA of type MD must be written in the form of RFC 3597"),
    "unknown directive": ("$INCLUD x\n", 5, "unknown directive $INCLUD"),
    "$ORIGIN without a name": ("$ORIGIN\n", 5, "$ORIGIN takes 1 argument(s), not 0"),
    "$INCLUDE of a directory": ("$INCLUDE .\n", 5, "DIR is a directory"),
    "$INCLUDE of nothing": ("$INCLUDE nothing.here\n", 5, "cannot read DIR/nothing.here: No such file or directory"),
    "$INCLUDE of itself": ("$INCLUDE example.zone\n", 5, "DIR/example.zone includes itself"),
    "$GENERATE backwards": ("$GENERATE 2-1 a$ A 192.0.2.$\n", 5, "bad range 2-1 in $GENERATE"),
    "$GENERATE without step": ("$GENERATE 1-2/0 a$ A 192.0.2.$\n", 5, "bad range 1-2/0 in $GENERATE"),
    "$GENERATE too many": ("$GENERATE 0-2147483647 a$ A 192.0.2.1\n", 5, "$GENERATE would make more than 1000000"),
    "$GENERATE overflow": ("$GENERATE 1-1 ${2147483647} A 192.0.2.1\n", 5, "$GENERATE reaches 2147483648, outside"),
    "$GENERATE bad modifier": ("$GENERATE 1-1 ${0,2,q} A 192.0.2.1\n", 5, "bad modifier ${0,2,q} in $GENERATE"),
    "$GENERATE not closed": ("$GENERATE 1-3 a$ TXT v${5,3,d\n", 5, "${ without } in $GENERATE: ${5,3,d"),
    "$GENERATE closed in a comment": ("$GENERATE 1-3 a$ TXT v${5;,3,d}\n", 5, "${ without } in $GENERATE: ${5"),
    "$GENERATE with a negative width": ("$GENERATE 1-3 a$ TXT ${5,-3,d}\n", 5, "bad modifier ${5,-3,d}"),
    "$GENERATE makes an endless record": ("$GENERATE 1-3 a$ TXT " + "${0,999,d}" * 1000 + "\n", 5,
                                          "$GENERATE makes a record longer than 524288 octets"),
    "TSIG of class IN": ("k. 0 IN TSIG hmac-sha256. 1 300 0 1 NOERROR 0\n", 5, "type TSIG cannot be in a zone"),
    "$GENERATE with bad RDATA": ("$GENERATE 255-300 a$ A 192.0.2.$\n", 5, "bad A RDATA 192.0.2.256: "),
    "$GENERATE makes no directive": ("$GENERATE 1-1 $$TTL A x\n", 5, "bad A RDATA x: "),
    "TXT too long": ("a TXT " + '"' + "x" * 256 + '"\n', 5, "bad TXT RDATA "),
    "RDATA over 65535": ("a TXT " + ' "' + '" "'.join(["x" * 255] * 257) + '"\n', 5, "the RDATA takes 65792"),
    "1 MB line": ("a TXT " + "x" * 1_000_000 + "\n", 5, "line 5 is longer than 524288 octets"),
    "endless line": ("a TXT " + "x" * 3_000_000 + "\n", 5, "line 5 is longer than 524288 octets"),
    "endless parentheses": ("a TXT (\n" + ("x" * 1000 + "\n") * 3000, 5, "a record in parentheses is longer"),
    "ZONEMD digest too short": ("a ZONEMD 1 1 1 " + "ab" * 47 + "\n", 5, "a ZONEMD digest of 47 octets"),
    "ZONEMD digest missing": ("a ZONEMD 1 1 240\n", 5, "a ZONEMD digest of 0 octets"),
    "ZONEMD not hexadecimal": ("a ZONEMD 1 1 1 x\n", 5, "bad ZONEMD RDATA 1 1 1 x"),
    "SVCB parameter unknown": ("a SVCB 1 . nope=1\n", 5, "unknown SvcParamKey nope"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused(tmp_path: Path, case: str) -> None:
    text, line, cause = BAD[case]
    found = faults(tmp_path, HEAD.encode() + (text if isinstance(text, bytes) else text.encode()))
    assert found[0][0] == line
    assert found[0][1].startswith(cause.replace("DIR", str(tmp_path)))
    assert len(found) == 1


def test_all_errors_are_reported(tmp_path: Path) -> None:
    text = HEAD + "a NOPE x\nb A 192.0.2.2\nc A x\n"
    assert [line for line, _ in faults(tmp_path, text)] == [5, 7]


def test_errors_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(ZoneFileErrors, match="too many errors") as raised:
        parse(tmp_path, HEAD + "a NOPE x\n" * 100)
    assert len(raised.value.errors) == 20


def test_records_before_the_soa(tmp_path: Path) -> None:
    zone = parse(tmp_path, "$TTL 5\na A 192.0.2.2\n" + HEAD)
    assert lines(zone) == ["a.example.com. 5 IN A 192.0.2.2"]
    cause = "the record has no TTL, and neither $TTL nor the SOA record comes before it"
    assert faults(tmp_path, "a A 192.0.2.2\n" + HEAD) == [(1, cause)]


def test_soa_minimum_is_the_last_resort_for_ttls(tmp_path: Path) -> None:
    zone = parse(tmp_path, "@ SOA ns hostmaster 7 3600 600 86400 123\n@ NS ns\nns A 192.0.2.1\n")
    assert {rrset.ttl for rrset in zone.rrsets} == {123}
    assert "no TTL is set: the SOA minimum, 123, is used" in str(zone.warnings[0])


def test_a_stated_ttl_carries_over(tmp_path: Path) -> None:
    zone = parse(
        tmp_path, "@ 9 SOA ns hostmaster 7 3600 600 86400 123\n@ NS ns\na 8 A 192.0.2.1\nb A 192.0.2.1\n"
    )
    assert [rrset.ttl for rrset in zone.rrsets] == [9, 9, 8, 8]


def test_no_owner_at_all(tmp_path: Path) -> None:
    assert faults(tmp_path, "$TTL 5\n  A 192.0.2.1\n")[0] == (
        2,
        "the record has no owner, and no record before it has one",
    )


def test_inherited_owner_after_origin_warns(tmp_path: Path) -> None:
    zone = parse(tmp_path, HEAD + "a A 192.0.2.2\n$ORIGIN sub\n  TXT x\n")
    assert lines(zone)[1] == 'a.example.com. 300 IN TXT "x"'
    assert "it belongs to a.example.com." in str(zone.warnings[0])


def test_byte_order_mark(tmp_path: Path) -> None:
    assert faults(tmp_path, b"\xef\xbb\xbf" + HEAD.encode()) == [
        (1, "the file begins with a byte order mark")
    ]


def test_no_soa(tmp_path: Path) -> None:
    assert faults(tmp_path, "$TTL 5\na A 192.0.2.1\n") == [(0, "no SOA record at the apex")]
    assert faults(tmp_path, b"") == [(0, "no SOA record at the apex")]


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "inc").mkdir()
    (tmp_path / "inc" / "one").write_text("  TXT inherited\nx A 192.0.2.2\n$ORIGIN deep\n$INCLUDE two\n")
    (tmp_path / "inc" / "two").write_text("y CNAME z\n$TTL 77\n")
    zone = parse(tmp_path, HEAD + 'a A 192.0.2.2\n$INCLUDE "inc/one" sub ; comment\n  TXT after\nb CNAME c\n')
    assert lines(zone) == [
        "a.example.com. 300 IN A 192.0.2.2",
        'a.example.com. 77 IN TXT "after"',
        'a.example.com. 77 IN TXT "inherited"',
        "b.example.com. 77 IN CNAME c.example.com.",
        "y.deep.sub.example.com. 300 IN CNAME z.deep.sub.example.com.",
        "x.sub.example.com. 300 IN A 192.0.2.2",
    ]
    assert [path.name for path in zone.files] == ["example.zone", "one", "two"]


def test_an_error_in_an_include_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "inc").write_text("\nx NOPE y\n")
    with pytest.raises(ZoneFileErrors) as raised:
        parse(tmp_path, HEAD + "$INCLUDE inc\n")
    assert str(raised.value).startswith(f"{tmp_path}/inc:2: unknown type NOPE; ")


def test_an_include_loop_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("example.zone")
    assert faults(tmp_path, HEAD + "$INCLUDE link\n") == [(5, f"{tmp_path}/link includes itself")]


def test_the_same_include_twice_is_no_loop(tmp_path: Path) -> None:
    (tmp_path / "inc").write_text("x A 192.0.2.2\n")
    zone = parse(tmp_path, HEAD + "$INCLUDE inc\n$INCLUDE inc sub\n")
    assert len(lines(zone)) == 2


def test_all_generate_lines_together_are_bounded_while_they_are_counted(tmp_path: Path) -> None:
    """The bounds hold within one block of lines: no more is made than they allow."""
    made: list[int] = []
    text = HEAD + "".join(f"$GENERATE 0-999 h{k}x$ A 192.0.2.1\n" for k in range(50))
    for limits, cause in (
        (Limits(records=5_000), "the zone has more than 5000 records"),
        (Limits(generated=1 << 20), "the $GENERATE lines make records of more than 1 MiB"),
    ):
        reader = Reader(ORIGIN, limits, strip=True)
        path = tmp_path / "example.zone"
        path.write_text(text)
        with pytest.raises(ZoneFileErrors, match=re.escape(cause)):
            reader.read(path)
        made.append(len(reader.rows))
    assert max(made) <= 5_000


def test_records_that_are_not_kept_count_too(tmp_path: Path) -> None:
    text = HEAD + "".join(f"$GENERATE 0-999 h{k}x$.other.test. A 192.0.2.1\n" for k in range(50))
    assert "more than 1 MiB" in faults(tmp_path, text, limits=Limits(generated=1 << 20))[-1][1]


PRIVATE = "PrivateKey: c2VjcmV0\nhunter2 horse battery\nhunter2.elsewhere. A 192.0.2.1\n"


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_words_of_a_private_file_are_not_shown(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PRIVATE)
    secret.chmod(mode)
    found = faults(tmp_path, HEAD + f"$INCLUDE {secret}\n")
    assert [line for line, _ in found] == [1, 2]
    assert all("its words are not shown" in cause for _, cause in found)
    with pytest.raises(ZoneFileErrors) as raised:
        parse(tmp_path, HEAD + f"$INCLUDE {secret}\n")
    assert not any(word in str(raised.value) for word in ("horse", "PrivateKey", "c2VjcmV0", "hunter2"))


def test_warnings_about_a_private_file_show_no_words(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2.elsewhere. A 192.0.2.1\n")
    secret.chmod(0o600)
    zone = parse(tmp_path, HEAD + "$INCLUDE secret\n")
    assert zone.warnings
    assert "hunter2" not in " ".join(map(str, zone.warnings))


def test_words_are_shown_of_public_files_and_of_those_like_the_zone_file(tmp_path: Path) -> None:
    included = tmp_path / "inc"
    included.write_text("a NOPE x\n")
    assert faults(tmp_path, HEAD + "$INCLUDE inc\n") == [(1, "unknown type NOPE")]
    (tmp_path / "example.zone").chmod(0o640)
    included.chmod(0o640)
    assert faults(tmp_path, HEAD + "$INCLUDE inc\n") == [(1, "unknown type NOPE")]


DIG = """; <<>> DiG 9.18 <<>> axfr
;; global options: +cmd
example.com.\t300\tIN\tSOA\tns hostmaster 7 3600 600 86400 300
example.com.\t300\tIN\tNS\tns.example.com.
ns.example.com.\t300\tIN\tA\t192.0.2.1
k1.\t\t\t0\tANY\tTSIG\thmac-sha256. 1700000000 300 32 c2VjcmV0 1234 NOERROR 0
www.example.com.\t300\tIN\tA\t192.0.2.2
example.com.\t300\tIN\tSOA\tns hostmaster 7 3600 600 86400 300
k1.\t\t\t0\tANY\tTSIG\thmac-sha256. 1700000000 300 32 c2VjcmV0 1234 NOERROR 0
;; Query time: 0 msec
"""


def test_a_transfer_as_dig_prints_it(tmp_path: Path) -> None:
    zone = parse(tmp_path, DIG)
    assert lines(zone) == ["www.example.com. 300 IN A 192.0.2.2"]
    notes = [str(warning) for warning in zone.warnings if "TSIG" in str(warning)]
    assert len(notes) == 1
    assert notes[0].endswith(":6: TSIG records, as dig prints them with a transfer, are ignored")


def test_a_file_name_begins_no_line_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ZoneFileErrors) as raised:
        parse(tmp_path, HEAD + '$INCLUDE "no\\010forged\\027[31m"\n')
    assert str(raised.value).count("\n") == 0
    assert "no\\x0aforged\\x1b[31m" in str(raised.value)


def test_includes_are_bounded(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"inc{number}").write_text(f"$INCLUDE inc{number + 1}\n")
    assert "deep" in faults(tmp_path, HEAD + "$INCLUDE inc0\n")[0][1]


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert faults(tmp_path, HEAD + "$INCLUDE fifo\n") == [(5, f"{tmp_path}/fifo is not a regular file")]


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ZoneFileErrors, match=r"nothing: cannot read it: No such file or directory"):
        parse_zone_file(tmp_path / "nothing", ORIGIN)


def test_a_cut_file_is_to_be_read_again(tmp_path: Path) -> None:
    cut = HEAD + "a A 192.0.2.1"
    with pytest.raises(FileChanged, match="does not end with a line end"):
        parse(tmp_path, cut)
    with pytest.raises(FileChanged):
        parse(tmp_path, cut + "\nb TX")
    with pytest.raises(FileChanged, match="no closing one"):
        parse(tmp_path, HEAD + "a TXT ( x")
    with pytest.raises(FileChanged, match="not closed on its line"):
        parse(tmp_path, HEAD + 'a TXT "x')
    path = tmp_path / "example.zone"
    warning = str(parse(tmp_path, cut, newline=False).warnings[0])
    assert warning == f"{path}: the file does not end with a line end: it may have been cut"
    with pytest.raises(ZoneFileErrors) as raised:
        parse(tmp_path, cut + "\nb TX", newline=False)
    assert not isinstance(raised.value, FileChanged), "what is wrong stays wrong, however often it is read"


def test_a_file_changed_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "example.zone"
    path.write_text(HEAD)
    read = os.read

    def reading(descriptor: int, size: int) -> bytes:
        if path.stat().st_size == len(HEAD):
            path.write_text(HEAD + "a A 192.0.2.2\n")
        return read(descriptor, size)

    monkeypatch.setattr("dnssecd.ingest.source.os.read", reading)
    with pytest.raises(FileChanged, match="the file changed while it was read"):
        parse_zone_file(path, ORIGIN)


def test_errors_in_a_file_that_was_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is of no interest any more: the caller reads again."""
    path, new = tmp_path / "example.zone", tmp_path / "new"
    path.write_text(HEAD + "a NOPE x\n")
    new.write_text(HEAD)
    read = os.read

    def reading(descriptor: int, size: int) -> bytes:
        if new.exists():
            new.rename(path)
        return read(descriptor, size)

    monkeypatch.setattr("dnssecd.ingest.source.os.read", reading)
    with pytest.raises(FileChanged):
        parse_zone_file(path, ORIGIN)


def test_a_reading_error_is_never_the_end_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "example.zone"
    path.write_text(HEAD)
    read = os.read
    calls = iter([read, None])

    def reading(descriptor: int, size: int) -> bytes:
        if next(calls) is None:
            raise OSError(5, "Input/output error")
        return read(descriptor, size)

    monkeypatch.setattr("dnssecd.ingest.source.os.read", reading)
    with pytest.raises(ZoneFileErrors, match=r"cannot read .*: Input/output error"):
        parse_zone_file(path, ORIGIN)


def test_dnssec_records_are_stripped_and_counted(tmp_path: Path) -> None:
    signed = HEAD + (
        "@ DNSKEY 256 3 13 AAAA\n@ CDS 0 0 0 00\n@ CDNSKEY 0 3 0 AA==\n@ NSEC3PARAM 1 0 0 -\n"
        "@ ZONEMD 7 1 1 ( 00\n00 )\n"
        "@ RRSIG SOA 13 2 300 20300101000000 20200101000000 1 @ AAAA\n@ NSEC a NS SOA\n"
        "a DNSKEY 256 3 13 AAAA\na CDS 1 13 2 " + "00" * 32 + "\nh NSEC3 1 0 0 - ( anything ; at all\n )\n"
    )
    zone = parse(tmp_path, signed)
    assert zone.stripped == {46: 1, 47: 1, 48: 1, 50: 1, 51: 1, 59: 1, 60: 1, 63: 1}
    assert [line.split()[3] for line in lines(zone)] == ["DNSKEY", "CDS"]
    assert "1 RRSIG, 1 NSEC" in str(zone.warnings[-1])


def test_a_signed_zone_as_it_is(tmp_path: Path) -> None:
    signed = HEAD + (
        "@ RRSIG SOA 13 2 300 20300101000000 20200101000000 1 @ AAAA\n"
        "@ 60 RRSIG NSEC 13 2 60 20300101000000 20200101000000 1 EXAMPLE.com. BBBB\n@ NSEC A NS SOA\n"
    )
    zone = parse(tmp_path, signed, strip=False)
    assert not zone.stripped
    assert [(rrsigs.owner, rrsigs.covered, rrsigs.ttl) for rrsigs in zone.rrsigs] == [
        (b"", 6, 300),
        (b"", 47, 60),
    ]
    assert b"\x07example\x03com\x00" in zone.rrsigs[1].rdata
    assert rdata(zone, b"", 47)[0].startswith(b"\x01A\x07example\x03com\x00"), (
        "NSEC keeps its case (RFC 6840 §5.1)"
    )


def test_unequal_ttls_take_the_smallest(tmp_path: Path) -> None:
    zone = parse(tmp_path, HEAD + "a 20 A 192.0.2.3\na 10 A 192.0.2.2\n")
    assert lines(zone) == ["a.example.com. 10 IN A 192.0.2.2", "a.example.com. 10 IN A 192.0.2.3"]
    assert zone.mixed == {(b"a\x00", 1): [(10, b"\xc0\x00\x02\x02"), (20, b"\xc0\x00\x02\x03")]}
    assert "the A RRset of a.example.com. has different TTLs; 10 is used" in str(zone.warnings[0])


def test_duplicates_merge_and_are_counted(tmp_path: Path) -> None:
    zone = parse(tmp_path, HEAD + "a A 192.0.2.2\nb A 192.0.2.2\na A 192.0.2.2\n" + HEAD)
    assert zone.duplicates == 4
    assert len(lines(zone)) == 2


def test_unchanged_files_are_known_by_stat(tmp_path: Path) -> None:
    (tmp_path / "inc").write_text("x A 192.0.2.2\n")
    digest = parse(tmp_path, HEAD + "$INCLUDE inc\n").digest
    assert digest.unchanged()
    (tmp_path / "inc").write_text("x A 192.0.2.33\n")
    assert not digest.unchanged()
    (tmp_path / "inc").unlink()
    assert not digest.unchanged()


def test_the_same_content_has_the_same_hash(tmp_path: Path) -> None:
    first = parse(tmp_path, HEAD).digest
    (tmp_path / "example.zone").unlink()
    assert parse(tmp_path, HEAD).digest.sha256 == first.sha256
    assert parse(tmp_path, HEAD + "a A 192.0.2.2\n").digest.sha256 != first.sha256


def test_rrsets_are_sorted_canonically(tmp_path: Path) -> None:
    # RFC 4034 §6.1
    names = ["example", "a", "yljkjljk.a", "Z.a", "zABC.a", "z", "\\001.z", "*.z", "\\200.z"]
    zone = parse(tmp_path, HEAD + "".join(f"{name} TXT x\n" for name in reversed(names)))
    owners = [line.split()[0] for line in lines(zone)]
    assert owners == [f"{name.lower()}.example.com." for name in [*names[1:5], "example", *names[5:]]]


def test_too_many_records(tmp_path: Path) -> None:
    limits = Limits(records=5)
    text = HEAD + "".join(f"h{number} A 192.0.2.2\n" for number in range(10))
    assert "more than 5 records" in faults(tmp_path, text, limits=limits)[0][1]


def test_warnings_are_bounded(tmp_path: Path) -> None:
    zone = parse(tmp_path, HEAD + "www.example.org. A 192.0.2.2\n" * 1000)
    assert zone.out_of_zone == 1000
    assert len(zone.warnings) <= 101


@pytest.mark.parametrize("origin", [b"\x00", b"\x03a.b\x03com\x00"])
def test_odd_origins(tmp_path: Path, origin: bytes) -> None:
    path = tmp_path / "zone"
    path.write_text(HEAD + "www A 192.0.2.2\nx CNAME www\n")
    zone = parse_zone_file(path, origin)
    assert rdata(zone, b"www\x00", 1) == [b"\xc0\x00\x02\x02"]
    assert rdata(zone, b"x\x00", 5) == [b"\x03www" + origin]


def test_owner_names_are_held_once(tmp_path: Path) -> None:
    zone = parse(tmp_path, HEAD + "a A 192.0.2.2\nb A 192.0.2.2\na TXT x\n")
    first, second = [rrset.owner for rrset in zone.rrsets if rrset.owner == b"a\x00"]
    assert first is second
