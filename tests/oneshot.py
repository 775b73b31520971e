"""``dnssecd sign`` and ``dnssecd verify`` inside the test process, and a zone with all that is hard to sign."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dnssecd.cli import sign as command
from dnssecd.cli import verify
from dnssecd.cli.app import build
from dnssecd.core.dns.names import text_to_wire
from dnssecd.keyservice_client.client import SignerClient
from tests.pipeline_zone import running_signer

NAME_OCTETS_MAX = 255
DIGEST = "0123456789abcdef" * 4

#: Lines of the hard zone that some peer cannot judge, by why; each is left out of that peer's cases only.
BELOW_DNAME = "below-dname"
AT_SIGN = "at-sign"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def dnssecd(*arguments: object) -> Ended:
    """Run a command of the real application in this process."""
    result = CliRunner().invoke(build(), [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def violations(path: Path, origin: str, *, time: int | None = None, zonemd: bool = False) -> list[str]:
    """What ``dnssecd verify`` finds in a signed file."""
    printed: list[str] = []
    status = verify.run(
        path, origin, None if time is None else str(time), zonemd, (), as_json=True, write=printed.append
    )
    found = json.loads(printed[0])["violations"]
    assert bool(status) == any(v["rank"] != "advice" for v in found), printed
    return [f"{v['owner']} {v['type']} {v['code']}: {v['detail']}" for v in found]


class _HeldService:
    """Stands in for command.KeyService: a key service that is up already."""

    def __init__(self, socket: str) -> None:
        self.signer = SignerClient(socket, owners=None)

    def client(self) -> SignerClient:
        return self.signer

    def stop(self) -> None:
        self.signer.close()


@contextmanager
def shared_key_service() -> Iterator[None]:
    """Let every ``sign`` in the block use one key service, so that small zones cost no process each.

    Keys of a zone are made once per algorithm and role, whatever its key store is said to be.
    """
    with running_signer() as socket, pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "KeyService", lambda settings: _HeldService(socket))
        yield


def longest_name(origin: str) -> str:
    """Return a relative name that makes 255 octets with ``origin``."""
    room = NAME_OCTETS_MAX - len(text_to_wire(origin))
    labels = []
    while room:
        octets = min(63, room - 1)
        octets -= room - (octets + 1) == 1  # an octet left over is no label
        labels.append("m" * octets)
        room -= octets + 1
    return ".".join(labels)


def hard_zone(origin: str = "hard.example.", *, without: tuple[str, ...] = ()) -> str:
    """Return a zone file with every shape of name and record that signers got wrong; see TORTURE, "Signing"."""
    many = "".join(f"many 300 A 10.0.{number >> 8}.{number & 255}\n" for number in range(1000))
    label = "l" * 63
    text = rf"""$ORIGIN {origin}
$TTL 3600
@           SOA   ns1 hostmaster 7 3600 600 604800 900
@           NS    ns1
@           NS    ns.other.test.
@           MX    10 Mail
@           CAA   0 issue "ca.other.test"
*           TXT   "wildcard at the apex"
ns1         A     192.0.2.1
mail        A     192.0.2.2
*.wild      TXT   "wildcard"
sub.*.wild  TXT   "below a wildcard"
a.*.mid     TXT   "asterisk in the middle of a name"
deep.er.than.this A 192.0.2.3
*.star.ent  A     192.0.2.4
secure      NS    ns.secure
secure      DS    4711 13 2 {DIGEST}
secure      DS    4711 13 4 {DIGEST}{DIGEST[:32]}
ns.secure   A     192.0.2.5
ns.secure   AAAA  2001:db8::5
insecure    NS    ns.insecure
ns.insecure A     192.0.2.6
selfglue    NS    selfglue
selfglue    A     192.0.2.10
selfglue    TXT   "beside a delegation"
secureglue  NS    secureglue
secureglue  AAAA  2001:db8::10
secureglue  DS    4713 15 2 {DIGEST}
x.y.insent  NS    ns.other.test.
p.q.r.twice NS    ns.other.test.
s.q.r.twice NS    ns.other.test.
mix.insent2 NS    ns.other.test.
t.mix2.insent2 NS ns.other.test.
t.mix2.insent2 DS 4712 8 2 {DIGEST}
u.mix3.insent2 NS ns.other.test.
v.mix3.insent2 A  192.0.2.7
cut         NS    ns.other.test.
hidden.cut  TXT   "occluded"
deeper.hidden.cut NS ns.other.test.
*.cut       A     192.0.2.66
dn          DNAME target.other.test.
dn          TXT   "beside a DNAME"
below.dn    A     192.0.2.67 ;{BELOW_DNAME}
deleg.below.dn NS ns.other.test. ;{BELOW_DNAME}
deleg.below.dn DS 1 13 2 {DIGEST} ;{BELOW_DNAME}
unknown     TYPE65280 \# 3 010203
unknown     TYPE65280 \# 0
unknown     TYPE4660  \# 4 00000000
\000        TXT   "NUL label"
\000.\000   TXT   "NUL labels"
a\000b      TXT   "NUL inside"
\001        TXT   "one"
\001\000    TXT   "one zero"
\200        TXT   "high"
\255\255    TXT   "highest"
dot\.ted    TXT   "escaped dot"
\.          TXT   "only a dot"
\@          TXT   "at" ;{AT_SIGN}
\"q\"       TXT   "quotes"
sp\032ace   TXT   "blank"
back\\slash TXT   "backslash"
UPPER       PTR   MixedCase.Other.Test.
{label}     TXT   "63 octets"
{label}.{label} TXT "63 octets twice"
{longest_name(origin)} TXT "255 octets"
{many}
zero        0          TXT "TTL zero"
forever     2147483647 TXT "TTL 2^31-1"
uneven      300   A     192.0.2.8
uneven      600   A     192.0.2.9
cname       CNAME www.other.test.
svcb        SVCB  1 svc alpn=h2 port=443
https       HTTPS 0 svcb
srv         SRV   0 0 443 mail
loc         LOC   52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
naptr       NAPTR 100 10 "u" "sip+E2U" "!^.*$!sip:x@other.test!" .
hinfo       HINFO "a" "b"
rp          RP    mail mail
apl         APL   1:192.168.32.0/21 !1:192.168.38.0/28
empty       TXT   ""
long        TXT   "{"x" * 255}" "{"y" * 255}" "{"z" * 255}"
"""
    tags = tuple(f";{tag}" for tag in without)
    return "".join(line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(tags))
