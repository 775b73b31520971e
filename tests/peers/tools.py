"""The peers' command-line tools, each with a deadline."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.peers.paths import program
from tests.peers.process import LOOPBACK
from tests.peers.tsig import TsigKey

TOOL_SECONDS = 60.0


@dataclass(frozen=True)
class Result:
    """How a tool ended: exit status (None: it hung and was killed), standard output and error."""

    command: str
    status: int | None
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def text(self) -> str:
        return self.out + self.err

    def __str__(self) -> str:
        state = "hung and was killed" if self.status is None else f"exit status {self.status}"
        return f"{self.command}: {state}\n{self.text[-3000:]}"


def run(
    name: str,
    *args: str,
    timeout: float = TOOL_SECONDS,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run a tool found on the system's PATH; a hang is a result, not an exception."""
    command = [program(name), *args]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=env,
            check=False,
        )
    except subprocess.TimeoutExpired as hung:
        out = hung.stdout.decode(errors="replace") if isinstance(hung.stdout, bytes) else ""
        return Result(" ".join(command), None, out, "")
    return Result(" ".join(command), done.returncode, done.stdout, done.stderr)


def ldns_verify_zone(path: Path, zone: str, *, at: str | None = None, zonemd: bool = False) -> Result:
    """NLnet Labs' verifier; ``at``: YYYYMMDDHHMMSS. It loops indefinitely on some chains, hence the deadline."""
    when = ["-t", at] if at else []
    return run("ldns-verify-zone", "-V", "1", *when, *(["-Z"] if zonemd else []), str(path))


def dnssec_verify(path: Path, zone: str, *, csk: bool = False) -> Result:
    """BIND's verifier, at the present time; ``csk``: keys are judged without regard to the SEP bit."""
    return run("dnssec-verify", "-q", *(["-z"] if csk else []), "-o", zone, str(path))


def kzonecheck(path: Path, zone: str, *, at: int | None = None) -> Result:
    """Knot's semantic checks with DNSSEC; ``at``: epoch seconds."""
    when = ["-t", str(at)] if at is not None else []
    return run("kzonecheck", "-d", "on", *when, "-o", zone, str(path))


def named_checkzone(path: Path, zone: str) -> Result:
    return run("named-checkzone", "-q", "-i", "local", zone, str(path))


REFEREES = (ldns_verify_zone, dnssec_verify, kzonecheck)


def dig(port: int, *args: str, tsig: TsigKey | None = None, directory: Path | None = None) -> Result:
    """dig at a server on loopback; one try of 3 s a query unless ``args`` say otherwise."""
    key = ["-k", str(tsig.file(directory))] if tsig and directory else []
    return run("dig", *key, "-p", str(port), f"@{LOOPBACK}", "+tries=1", "+time=3", *args)


def kdig(port: int, *args: str, tsig: TsigKey | None = None) -> Result:
    key = ["-y", f"{tsig.algorithm}:{tsig.name}:{tsig.secret}"] if tsig else []
    return run("kdig", *key, "-p", str(port), f"@{LOOPBACK}", "+retry=0", "+time=3", *args)


def nsupdate(port: int, commands: str, tsig: TsigKey | None = None, directory: Path | None = None) -> Result:
    """nsupdate with ``commands`` on its standard input; the ``server`` and ``send`` lines are added."""
    key = ["-k", str(tsig.file(directory))] if tsig and directory else []
    return run("nsupdate", *key, stdin=f"server {LOOPBACK} {port}\n{commands}\nsend\nquit\n")


def dnssec_signzone(
    path: Path, zone: str, directory: Path, *, nsec3: bool = False, lasts_s: int | None = None
) -> Path:
    """Sign a master file with two fresh P-256 keys; the signed file's path. Signs afresh on every call.

    lasts_s: seconds until the signatures expire, if not BIND's 30 days.
    """
    keys = sorted(directory.glob("K*.key"))
    if not keys:
        for flags in ([], ["-f", "KSK"]):
            made = run("dnssec-keygen", "-q", "-K", str(directory), "-a", "ECDSAP256SHA256", *flags, zone)
            assert made.ok, made
    signed = directory / f"{path.name}.signed"
    chain = ["-3", "-", "-H", "0"] if nsec3 else []
    ends = [] if lasts_s is None else ["-e", f"now+{lasts_s}"]
    done = run(
        "dnssec-signzone", "-S", "-q", "-K", str(directory), "-d", str(directory), *chain, *ends,
        "-o", zone, "-f", str(signed), str(path),
    )  # fmt: skip
    assert done.ok, done
    return signed
