"""``dnssecd sign`` as a command: its keys, its output, its exit status, its messages, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.rdatatype
import dns.zone
import pytest

from dnssecd.keyservice_client.client import SignerClient
from tests.oneshot import DIGEST, Ended, dnssecd, violations
from tests.peers.paths import REPOSITORY
from tests.peers.process import wait_until
from tests.peers.tools import run

ZONE = """$TTL 300
@ SOA ns1 host 7 3600 600 86400 300
@ NS ns1
ns1 A 192.0.2.1
www A 192.0.2.2
"""
BAD_ZONE = ZONE + "bad A 192.0.2.400\n"
SIGN = [sys.executable, "-m", "dnssecd", "sign"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory with a zone file; at the end no temporary file is left anywhere."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    (work / "zone").write_text(ZONE)
    monkeypatch.chdir(work)
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield work
    assert list(scratch.iterdir()) == []


def sign(*arguments: object, origin: str = "example.") -> Ended:
    return dnssecd("sign", "zone", "--origin", origin, *arguments)


def dnskeys(path: Path) -> set[str]:
    """The DNSKEY RDATA of a signed zone."""
    zone = dns.zone.from_file(str(path), "example.", relativize=False)
    return {str(rdata) for rdata in zone.find_rdataset("@", "DNSKEY")}


def bind_key(directory: Path, algorithm: str, *flags: str, zone: str = "example.") -> Path:
    """Make a key with BIND's tool."""
    made = run("dnssec-keygen", "-q", "-K", str(directory), "-a", algorithm, *flags, zone)
    assert made.ok, made
    return directory / f"{made.out.strip()}.key"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def last_line(text: str) -> str:
    """What a command says at its end; a slow machine has it report progress before."""
    return text.splitlines()[-1]


# Output


@pytest.mark.usefixtures("umask_zero")
def test_a_signed_zone_and_its_keys_are_private_files(home: Path) -> None:
    ended = sign("-o", "out")
    assert (ended.status, ended.out) == (0, "")
    assert last_line(ended.err) == "out: serial 7, 19 records, 9 signatures made, verified"
    assert sorted(path.name for path in home.iterdir()) == ["out", "out.keys", "zone"]
    assert mode(home / "out") == 0o600
    for path in (home / "out.keys", *(home / "out.keys").rglob("*")):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path
    assert violations(home / "out", "example.") == []


def test_json(home: Path) -> None:
    ended = sign("-o", "out", "--json")
    assert (ended.status, ended.err) == (0, "")
    wanted = {"serial": 7, "signatures": 9, "records": 19, "output": "out", "verified": True, "warnings": []}
    assert ended.json == wanted
    failed = sign("-o", "out", "--json", "--algorithm", "rsasha1")
    assert failed.status == 2
    assert failed.json["error"]["what"].startswith("algorithm rsasha1 is refused: SHA-1")


def test_standard_output(home: Path) -> None:
    ended = sign("-o", "-", "--keystore", "keys")
    assert ended.status == 0
    (home / "out").write_text(ended.out)
    assert violations(home / "out", "example.") == []
    assert last_line(ended.err) == "-: serial 7, 19 records, 9 signatures made, verified"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("-o", "-"), "new keys need a directory"),
        (("-o", "-", "--keystore", "k", "--json"), "the zone and JSON cannot both go to standard output"),
        (("-o", "./zone"), "-o ./zone is the input file"),
        (("-o", "out", "--opt-out", "--denial", "nsec"), "--opt-out requires --denial nsec3"),
        (("-o", "out", "--algorithm", "rot13"), "rot13 is not a DNSSEC algorithm"),
        (("-o", "out", "--algorithm", "5"), "algorithm 5 is refused: SHA-1"),
        (("-o", "out", "--algorithm", "nsec3rsasha1"), "algorithm nsec3rsasha1 is refused: SHA-1"),
        (("-o", "out", "--inception", "2000000001", "--expiration", "2000000000"), "is not after the inception"),
        (("-o", "out", "--inception", "0", "--expiration", "2147483648"), "more than 68 years"),
        (("-o", "out", "--expiration", "21500101000000"), "more than 68 years"),
    ],
)  # fmt: skip
def test_wrong_arguments(home: Path, arguments: tuple[str, ...], what: str) -> None:
    ended = sign(*arguments)
    assert ended.status == 2
    assert what in ended.out + ended.err
    assert [path.name for path in home.iterdir()] == ["zone"]
    assert (home / "zone").read_text() == ZONE


def test_a_zone_name_that_is_none(home: Path) -> None:
    ended = sign("-o", "out", origin="exam..ple")
    assert ended.status == 2
    assert "'exam..ple' has an empty label" in ended.err
    assert [path.name for path in home.iterdir()] == ["zone"]


@pytest.mark.parametrize("output", ["-", "out"])
@pytest.mark.parametrize("fault", ["input", "verification"])
def test_nothing_is_left_of_what_failed(
    home: Path, output: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "input":
        (home / "zone").write_text(BAD_ZONE)
        what = "zone:6: bad A RDATA 192.0.2.400"
    else:
        collect = SignerClient.collect
        monkeypatch.setattr(SignerClient, "collect", lambda *ticket: _spoilt(collect(*ticket)))
        what = "did not pass verification: example. NS: rrsig-bad"
    ended = sign("-o", output, "--keystore", "keys")
    assert (ended.status, ended.out) == (1, "")
    assert what in ended.err
    assert "served" not in ended.err, "there is no daemon here"
    assert "nothing was written" in ended.err
    assert [path.name for path in home.iterdir()] == ["zone"]


def _spoilt(signatures: list[bytes]) -> list[bytes]:
    return [signature[:-1] + bytes((signature[-1] ^ 1,)) for signature in signatures]


def test_what_was_there_before_stays_when_signing_fails(home: Path) -> None:
    assert sign("-o", "out").status == 0
    before = {
        path: path.read_bytes() for path in home.rglob("*") if "audit.log" not in path.name and path.is_file()
    }
    (home / "zone").write_text(BAD_ZONE)
    assert sign("-o", "out").status == 1
    (home / "zone").write_text(ZONE)
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in home.iterdir()) == ["out", "out.keys", "zone"]


def test_a_place_that_cannot_be_written(home: Path) -> None:
    ended = sign("-o", "nowhere/out", "--keystore", "keys")
    assert ended.status == 1
    assert "nowhere/out cannot be written (No such file or directory)" in ended.err
    assert [path.name for path in home.iterdir()] == ["zone"]


def test_devices_are_written_to_and_not_replaced(home: Path) -> None:
    """With root's rights a rename over /dev/null would succeed."""
    os.mkfifo(home / "pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        assert sign("-o", "pipe", "--keystore", "keys").status == 0
        assert reader.stdout is not None
        (home / "out").write_text(reader.stdout.read())
    assert stat.S_ISFIFO((home / "pipe").stat().st_mode)
    assert violations(home / "out", "example.") == []
    full = sign("-o", "/dev/full", "--keystore", "keys")
    assert full.status == 1
    assert "/dev/full cannot be written (No space left on device)" in full.err
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_standard_output_that_is_full(home: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [*SIGN, "zone", "--origin", "example.", "-o", "-", "--keystore", "keys"]
        ended = _process(command, stdout=full, stderr=subprocess.PIPE)
        _, err = ended.communicate(timeout=60)
    assert ended.returncode == 1
    assert "dnssecd: standard output cannot be written (No space left on device)\n" in err.decode()


def _process(command: list[str], **more: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=environment, **more)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_is_left_of_what_was_stopped(home: Path, number: signal.Signals) -> None:
    """Private keys given by file are not left in a temporary directory either."""
    (home / "zone").write_text(ZONE + "".join(f"h{at} A 192.0.2.3\n" for at in range(20_000)))
    key = bind_key(home, "ED448", "-f", "KSK")
    with _process([*SIGN, "zone", "--origin", "example.", "-o", "out", "--key", key.name]) as signing:
        wait_until(lambda: list(home.glob("out.*.tmp")), "the output is begun")
        signing.send_signal(number)
        assert signing.wait(30) != 0
    assert sorted(path.name for path in home.iterdir()) == [key.name, f"{key.stem}.private", "zone"]


def test_a_reader_that_is_stuck(home: Path) -> None:
    (home / "zone").write_text(ZONE + "".join(f"h{at} A 192.0.2.3\n" for at in range(2000)))
    command = [*SIGN, "zone", "--origin", "example.", "-o", "-", "--keystore", "keys"]
    with _process(command, stdout=subprocess.PIPE) as signing:
        assert signing.stdout is not None
        assert signing.stdout.read(1), "the zone is being written; more than a pipe holds is to come"
        signing.terminate()
        assert signing.wait(30) == 128 + signal.SIGTERM


# Keys


def test_a_key_store_is_used_again(home: Path) -> None:
    assert sign("-o", "one").status == 0
    assert sign("-o", "two", "--keystore", "one.keys").status == 0
    assert dnskeys(home / "one") == dnskeys(home / "two")
    assert not (home / "two.keys").exists()


def test_keys_that_a_store_holds_are_taken_as_they_are(home: Path) -> None:
    """Signed with Ed25519 once, a zone is not signed with new keys of the default algorithm the next time."""
    assert sign("-o", "one", "--algorithm", "ed25519", "--csk").status == 0
    assert sign("-o", "two", "--keystore", "one.keys").status == 0
    assert dnskeys(home / "one") == dnskeys(home / "two")
    assert sign("-o", "three", "--keystore", "one.keys", "--algorithm", "ecdsap384sha384").status == 0
    assert len(dnskeys(home / "three")) == 2


def test_a_key_that_is_missing_is_no_reason_to_make_another(home: Path) -> None:
    assert sign("-o", "out").status == 0
    signed = (home / "out").read_bytes()
    gone = sorted((home / "out.keys").glob("*.key"))[0]
    gone.unlink()
    ended = sign("-o", "out")
    assert ended.status == 1
    assert f"{gone} is gone; restore it from the backup" in ended.err
    assert (home / "out").read_bytes() == signed
    assert len(list((home / "out.keys").glob("*.key"))) == 1


def test_a_key_store_that_is_not_a_directory(home: Path) -> None:
    (home / "keys").write_text("")
    ended = sign("-o", "out", "--keystore", "keys")
    assert ended.status == 2
    assert f"the key store {home / 'keys'} is not a directory" in ended.err
    assert sorted(path.name for path in home.iterdir()) == ["keys", "zone"]


def test_a_temporary_directory_with_a_long_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a Unix socket has at most 107 octets."""
    deep = home / ("t" * 120)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr("tempfile.tempdir", None)
    ended = sign("-o", "out")
    assert ended.status == 0, ended.err
    assert list(deep.iterdir()) == []


def test_passphrase_file(home: Path) -> None:
    (home / "secret").write_text("correct horse\n")
    (home / "secret").chmod(0o600)
    assert sign("-o", "out", "--passphrase-file", "secret").status == 0
    assert not (home / "out.keys" / "passphrase").exists()
    assert sign("-o", "again", "--keystore", "out.keys", "--passphrase-file", "secret").status == 0
    assert dnskeys(home / "out") == dnskeys(home / "again")
    (home / "secret").write_text("wrong\n")
    ended = sign("-o", "third", "--keystore", "out.keys", "--passphrase-file", "secret")
    assert ended.status == 1
    assert "passphrase" in ended.err
    assert "wrong\n" not in ended.err.replace("wrong passphrase", "")
    assert not (home / "third").exists()


@pytest.mark.parametrize("suffix", [".key", ".private", ""])
def test_bind_keys(home: Path, suffix: str) -> None:
    """A KSK and a ZSK, named by either file or by what both are called."""
    names = [bind_key(home, "ECDSAP256SHA256", *flags) for flags in (("-f", "KSK"), ())]
    before = {path: path.read_bytes() for path in home.iterdir()}
    ended = sign(
        "-o", "out", *(word for key in names for word in ("--key", f"{key.with_suffix('')}{suffix}"))
    )
    assert ended.status == 0, ended.err
    assert {fields[0] for fields in map(str.split, dnskeys(home / "out"))} == {"256", "257"}
    assert violations(home / "out", "example.") == []
    assert {path.name for path in home.iterdir()} == {path.name for path in before} | {"out"}
    assert {path: path.read_bytes() for path in before} == before
    signers = {
        (rdata.type_covered, rdata.key_tag)
        for rdata in dns_rrsigs(home / "out")
        if rdata.type_covered in (48, 6)
    }
    tags = [int(key.stem.rpartition("+")[2]) for key in names]
    assert signers == {(dns.rdatatype.DNSKEY, tags[0]), (dns.rdatatype.SOA, tags[1])}


def dns_rrsigs(path: Path) -> list[dns.rdtypes.ANY.RRSIG.RRSIG]:  # type: ignore[name-defined]
    zone = dns.zone.from_file(str(path), "example.", relativize=False)
    return [rdata for _, _, rdata in zone.iterate_rdatas() if rdata.rdtype == dns.rdatatype.RRSIG]


def test_a_lone_bind_ksk_signs_everything(home: Path) -> None:
    key = bind_key(home, "ED25519", "-f", "KSK")
    assert sign("-o", "out", "--key", key).status == 0
    assert {rdata.key_tag for rdata in dns_rrsigs(home / "out")} == {int(key.stem.rpartition("+")[2])}
    assert violations(home / "out", "example.") == []


def test_every_algorithm_of_bind_keys_signs_everything(home: Path) -> None:
    ksk, zsk = (bind_key(home, "RSASHA256", "-b", "2048", *flags) for flags in (("-f", "KSK"), ()))
    csk = bind_key(home, "ED25519", "-f", "KSK")
    assert sign("-o", "out", "--key", ksk, "--key", zsk, "--key", csk).status == 0
    by_type: dict[int, set[int]] = {}
    for rdata in dns_rrsigs(home / "out"):
        by_type.setdefault(rdata.type_covered, set()).add(rdata.algorithm)
    assert set(map(frozenset, by_type.values())) == {frozenset({8, 15})}
    assert violations(home / "out", "example.") == []


def _foreign(home: Path) -> str:
    return bind_key(home, "ED25519", "-f", "KSK", zone="other.example.").name


def _mismatched(home: Path) -> str:
    ours, other = (bind_key(home, "ED25519", "-f", "KSK") for _ in range(2))
    shutil.copy(other.with_suffix(".private"), ours.with_suffix(".private"))
    return ours.name


def _changed(home: Path, old: str, new: str) -> str:
    key = bind_key(home, "ED25519", "-f", "KSK")
    key.write_text(key.read_text().replace(old, new))
    return key.name


def _retired_algorithm(home: Path) -> str:
    return bind_key(home, "NSEC3RSASHA1", "-b", "2048", "-f", "KSK").name


def _other_private(home: Path, content: str) -> str:
    key = bind_key(home, "ED25519", "-f", "KSK")
    key.with_suffix(".private").write_text(content)
    return key.name


SECRET = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHM="
BAD_KEYS = {
    "foreign": (_foreign, "the key is of other.example., not of example."),
    "mismatched": (_mismatched, "the private key does not belong to the DNSKEY in the .key file"),
    "revoked": (lambda home: _changed(home, "DNSKEY 257", "DNSKEY 385"), "the key is revoked (RFC 5011)"),
    "no zone key": (lambda home: _changed(home, "DNSKEY 257", "DNSKEY 1"), "flags 1: not a zone key (RFC 4034"),
    "protocol": (lambda home: _changed(home, "DNSKEY 257 3", "DNSKEY 257 2"), "protocol 2 instead of 3 (RFC 4034"),
    "algorithm": (_retired_algorithm, "algorithm 7 is refused: RSASHA1-NSEC3-SHA1 must not be used"),
    "lone ZSK": (lambda home: bind_key(home, "ED25519").name, "no KSK of algorithm 15 is given; give the KSK too"),
    "absent": (lambda home: "Knone", "Knone.key: No such file or directory"),
    "garbage": (lambda home: _other_private(home, SECRET), "not a readable private key"),
    "other kind": (
        lambda home: _other_private(home, f"Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: {SECRET}\n"),
        "the file is not for algorithm 15: 13",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_KEYS)
def test_bind_keys_that_are_refused(home: Path, case: str) -> None:
    make, what = BAD_KEYS[case]
    key = make(home)
    before = sorted(path.name for path in home.iterdir())
    ended = sign("-o", "out", "--key", key)
    assert (ended.status, ended.out) == (1, "")
    assert what in ended.err
    assert ended.err.count(key.removesuffix(".key")) >= 1, "the message names the file"
    assert SECRET not in ended.err
    assert sorted(path.name for path in home.iterdir()) == before


def test_a_key_given_twice(home: Path) -> None:
    key = bind_key(home, "ED25519", "-f", "KSK")
    ended = sign("-o", "out", "--key", key, "--key", key.with_suffix(""))
    assert ended.status == 1
    assert f"{key.with_suffix('')}: the key is given twice" in ended.err


def test_deterministic_signatures(home: Path) -> None:
    """RFC 6979: the same octets every time, with the same times; without it they differ."""
    times = ("--inception", "1790000000", "--expiration", "1800000000", "--keystore", "keys")
    outputs = {}
    for name, more in (("a", ("--deterministic",)), ("b", ("--deterministic",)), ("c", ()), ("d", ())):
        assert sign("-o", name, *times, *more).status == 0
        outputs[name] = (home / name).read_bytes()
        assert violations(home / name, "example.", time=1_795_000_000) == []
    assert outputs["a"] == outputs["b"]
    assert outputs["c"] != outputs["d"]


# Messages


def test_all_faults_of_a_zone_file_are_reported(home: Path) -> None:
    (home / "zone").write_text(ZONE + "a A 1\nb AAAA ::g\n$NONSENSE\n")
    ended = sign("-o", "out")
    assert ended.status == 1
    lines = ended.err.splitlines()
    assert lines[0].startswith("dnssecd: zone:6: bad A RDATA")
    for line, what in ((7, "bad AAAA RDATA"), (8, "unknown directive")):
        assert [text.startswith(f"zone:{line}: {what}") for text in lines].count(True) == 1, lines
    assert len(lines) == 4, "each fault is told once, and what to do"
    assert json.loads(sign("-o", "out", "--json").out)["error"]["what"].startswith("zone:6: bad A RDATA")


def test_oddities_are_reported_and_do_not_stop(home: Path) -> None:
    (home / "zone").write_text(
        ZONE + f"uneven 60 A 192.0.2.3\nuneven A 192.0.2.4\n@ DS 1 13 2 {DIGEST}\nx.org. A 1.2.3.4\n"
    )
    ended = sign("-o", "out")
    assert ended.status == 0
    assert (
        "warning: zone: the A RRset of uneven.example. has different TTLs; 60 is used for all records"
        in ended.err
    )
    assert "warning: zone:9: x.org. is outside the zone: ignored" in ended.err


def test_a_zone_name_too_long_for_nsec3(home: Path) -> None:
    longest = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 28}."
    ended = sign("-o", "out", origin=longest)
    assert ended.status == 0, "222 octets leave room for a hash"
    too_long = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 29}."
    ended = sign("-o", "long", origin=too_long)
    assert ended.status == 1
    assert "has 223 bytes in wire format: NSEC3 owner names do not fit" in ended.err
    assert "use --denial nsec" in ended.err
    assert not list(home.glob("long*"))
    assert sign("-o", "long", "--denial", "nsec", origin=too_long).status == 0
    assert violations(home / "long", too_long) == []
