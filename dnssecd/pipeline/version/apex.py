"""The RRsets that the signer makes at the apex: SOA serial, DNSKEY, CDS, CDNSKEY, NSEC3PARAM."""

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, pack, unpack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY, NSEC3PARAM
from dnssecd.core.keys.keyset import SigningView
from dnssecd.pipeline.jobs.spec import ZoneSpec

#: Derived RRsets other than DNSKEY carry no data for resolvers; RFC 5155 §4 leaves the NSEC3PARAM TTL to the
#: signer.
NSEC3PARAM_TTL_S = 0


def soa_serial(soa: RRset) -> int:
    """Return the serial of an SOA RRset."""
    return int.from_bytes(soa.rdata[-20:-16], "big")


def with_serial(soa: RRset, serial: int) -> RRset:
    """Return the SOA RRset with another serial."""
    return soa._replace(rdata=soa.rdata[:-20] + serial.to_bytes(4, "big") + soa.rdata[-16:])


def soa_rdata(soa: RRset) -> bytes:
    """Return the SOA's RDATA."""
    return unpack(soa.rdata)[0]


def soa_expire(soa: RRset) -> int:
    """Return the EXPIRE field, seconds (RFC 1035 §3.3.13)."""
    return int.from_bytes(soa.rdata[-8:-4], "big")


def is_signed(view: SigningView) -> bool:
    """Tell whether a version with these keys has DNSSEC records."""
    return bool(view.dnskey_rdatas or view.zone_keys)


def apex_rrsets(view: SigningView, spec: ZoneSpec) -> list[RRset]:
    """Return the derived apex RRsets, ordered by type."""
    wanted = (
        (DNSKEY, spec.dnskey_ttl, view.dnskey_rdatas),
        (
            NSEC3PARAM,
            NSEC3PARAM_TTL_S,
            (spec.denial_parameters.nsec3param_rdata(),)
            if spec.denial_parameters.is_nsec3 and is_signed(view)
            else (),
        ),
        (CDS, spec.dnskey_ttl, view.cds),
        (CDNSKEY, spec.dnskey_ttl, view.cdnskey),
    )
    return [RRset(APEX, rtype, ttl, pack(rdatas)) for rtype, ttl, rdatas in wanted if rdatas]
