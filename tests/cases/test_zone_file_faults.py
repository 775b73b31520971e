"""Zone files that people write: what other servers load is signed; each fault has file, line and field."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, small_zone
from tests.oneshot import Ended, dnssecd
from tests.peers.process import Servers
from tests.peers.tools import dig, kdig, named_checkzone
from tests.peers.tsig import TsigKey
from tests.peers.world import start_world

pytestmark = pytest.mark.integration

HEAD = "$TTL 3600\n@ SOA ns1 host 1 7200 3600 1209600 3600\n@ NS ns1\nns1 A 192.0.2.1\n"


def sign(tmp_path: Path, text: str, *options: object) -> Ended:
    (tmp_path / "zone").write_text(text)
    return dnssecd("sign", tmp_path / "zone", "--origin", "example.", "-o", tmp_path / "out", *options)


def test_generate_with_signs_as_bind_reads_it(tmp_path: Path) -> None:
    text = HEAD + "$GENERATE 1-3 console-$ A 192.0.2.${+100,0,d}\n$GENERATE 1-3 wide-$ TXT v${5,+3,d}\n"
    ended = sign(tmp_path, text)
    assert ended.status == 0, ended.err
    assert named_checkzone(tmp_path / "zone", "example.").ok
    signed = (tmp_path / "out").read_text().split("\n")
    assert any(line.split()[0] == "console-1.example." and "192.0.2.101" in line for line in signed if line)
    assert any("wide-1.example." in line and '"v006"' in line for line in signed)


def test_generate_that_is_not_closed(tmp_path: Path) -> None:
    ended = sign(tmp_path, HEAD + "$GENERATE 1-3 a$ TXT v${5,3,d\n")
    assert ended.status == 1
    assert f"{tmp_path}/zone:5: ${{ without }} in $GENERATE" in ended.err
    assert not named_checkzone(tmp_path / "zone", "example.").ok


def test_every_finding_has_its_line_and_type_and_is_listed(tmp_path: Path) -> None:
    text = HEAD + "www A 192.0.2.2\nwww CNAME ns1\nx CNAME a\nx CNAME b\n( y\n A 192.0.2.2 )\ny CNAME ns1\n"
    (tmp_path / "more").write_text("z CNAME a\nz TXT x\n")
    ended = sign(tmp_path, text + "$INCLUDE more\n$GENERATE 1-2 g CNAME g$\n")
    assert ended.status == 1
    for line in (
        f"{tmp_path}/zone:6: www.example. CNAME: a CNAME stands beside other data: A",
        f"{tmp_path}/zone:8: x.example. CNAME: more than one CNAME",
        f"{tmp_path}/zone:11: y.example. CNAME: a CNAME stands beside other data: A",
        f"{tmp_path}/more:1: z.example. CNAME: a CNAME stands beside other data: TXT",
        f"{tmp_path}/zone:13: g.example. CNAME: more than one CNAME",
    ):
        assert ended.err.count(line) == 1, line


def test_each_fault_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    ended = sign(tmp_path, HEAD + "a A 192.0.2.300\nb MX 10\n")
    assert f"dnssecd: {tmp_path}/zone:5: bad A RDATA" in ended.err.splitlines()[0]
    assert ended.err.splitlines()[1].startswith(f"{tmp_path}/zone:6: bad MX RDATA")


def test_findings_that_end_alike_are_all_listed(tmp_path: Path) -> None:
    ended = sign(tmp_path, HEAD + "a.b CNAME x\na.b A 192.0.2.1\nb CNAME x\nb A 192.0.2.1\n")
    assert ended.err.count("a CNAME stands beside other data: A") == 2


def test_a_lone_zsk_is_refused_with_the_missing_role(tmp_path: Path) -> None:
    command = ["dnssec-keygen", "-q", "-K", str(tmp_path), "-a", "ED25519", "example."]
    key = tmp_path / subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    for options in ((), ("--csk",)):
        ended = sign(tmp_path, HEAD, "--key", key, *options)
        assert ended.status == 1
        assert "needs flags 257" in ended.err
    text = key.with_name(key.name + ".key").read_text()
    key.with_name(key.name + ".key").write_text(text.replace("DNSKEY 256", "DNSKEY 257"))
    assert sign(tmp_path, HEAD, "--key", key, "--csk").status == 0


def test_options_that_do_not_go_with_key_files(tmp_path: Path) -> None:
    command = [
        "dnssec-keygen",
        "-q",
        "-K",
        str(tmp_path),
        "-a",
        "ED25519",
        "-f",
        "KSK",
        "-I",
        "20200101",
        "example.",
    ]
    key = tmp_path / subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    ended = sign(tmp_path, HEAD, "--key", key, "--algorithm", "ed25519")
    assert (ended.status, "--algorithm applies to new keys only" in ended.err) == (2, True)
    ended = sign(tmp_path, HEAD, "--key", key)
    assert (ended.status, "Inactive is 20200101000000; key times are ignored" in ended.err) == (0, True)


def test_a_date_of_eight_digits(tmp_path: Path) -> None:
    ended = sign(tmp_path, HEAD, "--expiration", "20480101")
    assert (ended.status, "write YYYYMMDDHHMMSS" in ended.err) == (2, True)


def test_a_file_without_last_line_end_is_taken_when_it_rests(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    world = start_world(servers, peer_dir, tsig_key, ZONE, small_zone(), kinds=())
    daemon = world.daemon
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    world.input.write_text(small_zone(2, "last A 192.0.2.2").rstrip("\n"))
    assert daemon.wait_serial_other_than(ZONE, 1, timeout=40) == 2
    assert "192.0.2.2" in dig(daemon.port, "+short", f"last.{ZONE}", "A", tsig=tsig_key).out
    warnings = str(daemon.cli_json("zone", "show", ZONE))
    assert "does not end with a line end" in warnings


def test_a_transfer_as_dig_and_kdig_print_it_is_a_zone_file(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, tmp_path: Path
) -> None:
    world = start_world(servers, peer_dir, tsig_key, ZONE, small_zone(), kinds=())
    daemon = world.daemon
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    printed = {
        "dig": dig(daemon.port, ZONE, "AXFR", tsig=tsig_key, directory=tmp_path),
        "kdig": kdig(daemon.port, ZONE, "AXFR", tsig=tsig_key),
    }
    for tool, result in printed.items():
        path = tmp_path / f"{tool}.zone"
        path.write_text(result.out)
        assert "TSIG" in result.out, f"{tool}: the input is what it is meant to be"
        ended = dnssecd("verify", path, "--origin", ZONE)
        assert ended.status == 0, ended.out
        ended = dnssecd("sign", path, "--origin", ZONE, "-o", tmp_path / "signed")
        assert ended.status == 0, ended.err
        assert ended.err.count("TSIG records, as dig prints them") == 1
