"""``[policy.*]``: keys, denial, signature times."""

from __future__ import annotations

from typing import Any, Literal

from dnssecd.config.algorithms import ALGORITHMS, RSA, algorithm_name, algorithm_number
from dnssecd.config.errors import did_you_mean
from dnssecd.config.freeze import FreezeWindow, parse_freeze
from dnssecd.config.model import Keystore, KeyTemplate, Policy
from dnssecd.config.peers import check_label
from dnssecd.config.reader import Section
from dnssecd.config.timing import check_lifetimes, read_timing
from dnssecd.durations import parse_duration

DAY = 86_400
MANUAL_STEPS = ("zsk", "ksk", "algorithm", "denial")
_DEFAULT_BITS = 2_048
_DEFAULT = KeyTemplate(ALGORITHMS["ecdsap256sha256"], lifetime=None)
_ZSK_LIFETIME = 90 * DAY


def policies(root: Section, keystores: dict[str, Keystore]) -> dict[str, Policy]:
    found: dict[str, Policy] = {}
    for name, section in root.children("policy"):
        check_label(name, section)
        found[name] = _policy(name, section, keystores)
        section.finish()
    return found


def reference(section: Section, key: str, known: dict[str, Any], default: str, kind: str) -> str:
    """The name at *key*, which must be among *known*. Absent: *default*, or the only one there is."""
    name = section.text(key)
    if not name:
        name = next(iter(known)) if len(known) == 1 else default
    if name not in known:
        section.error(key, f'there is no {kind} "{name}"', did_you_mean(name, known))
    return name


def _policy(name: str, section: Section, keystores: dict[str, Keystore]) -> Policy:
    ksk, zsk, csk = _templates(section)
    timing = read_timing(section)
    check_lifetimes(section, timing, ksk=ksk, zsk=zsk, csk=csk)
    denial: Literal["nsec3", "nsec"] = section.choice("denial", ("nsec3", "nsec"), "nsec3")
    opt_out = section.flag("nsec3_opt_out")
    if opt_out and denial == "nsec":
        section.error(
            "nsec3_opt_out", "NSEC has no opt-out", 'write denial = "nsec3" or nsec3_opt_out = false'
        )
    return Policy(
        name=name,
        keystore=reference(section, "keystore", keystores, "local", "key store"),
        ksk=ksk,
        zsk=zsk,
        csk=csk,
        share_keys=section.flag("share_keys"),
        dnskey_ttl=timing.dnskey_ttl,
        denial=denial,
        nsec3_opt_out=opt_out,
        signature_validity=timing.validity,
        signature_inception=timing.inception,
        signature_refresh=timing.refresh,
        signature_jitter=timing.jitter,
        serial=section.choice("serial", ("increment", "unixtime", "date"), "increment"),
        zonemd=section.flag("zonemd"),
        propagation_delay=timing.propagation_delay,
        parent_propagation_delay=timing.parent_propagation_delay,
        parent_ds_ttl=timing.parent_ds_ttl,
        cds=section.choice("cds", ("auto", "never"), "auto"),
        rfc5011=section.flag("rfc5011"),
        standby_ksk=section.flag("standby_ksk"),
        manual=_manual(section),
        freeze=_freeze(section),
        signed=section.flag("signed", True),
    )


def _templates(section: Section) -> tuple[KeyTemplate | None, KeyTemplate | None, KeyTemplate | None]:
    """(ksk, zsk, csk) with csk, or the other two, None. One algorithm for all: each must sign everything."""
    split = [role for role in ("ksk", "zsk") if section.has(role)]
    if section.has("csk"):
        if split:
            section.error(
                "csk", f"a CSK takes the place of KSK and ZSK, but {split[0]} is given", "remove one"
            )
        return None, None, _template(section, "csk", _DEFAULT)
    ksk = _template(section, "ksk", _DEFAULT)
    zsk_default = KeyTemplate(ksk.algorithm, _ZSK_LIFETIME, ksk.bits)
    zsk = _template(section, "zsk", zsk_default)
    if "ksk" not in split and "zsk" in split:
        ksk = KeyTemplate(zsk.algorithm, None, zsk.bits)
    if ksk.algorithm != zsk.algorithm:
        section.problems.error(
            section.at("zsk", "algorithm"),
            f"KSK ({algorithm_name(ksk.algorithm)}) and ZSK ({algorithm_name(zsk.algorithm)}) differ in "
            "algorithm: every RRset must be signed by every algorithm in the DNSKEY RRset (RFC 4035 §2.2)",
            "give both the same algorithm",
        )
    return ksk, zsk, None


def _template(section: Section, role: str, default: KeyTemplate) -> KeyTemplate:
    table = section.table(role)
    if table is None:
        return default
    algorithm = _algorithm(table, default.algorithm)
    lifetime = _lifetime(table, default.lifetime)
    bits = _bits(table, algorithm)
    table.finish()
    return KeyTemplate(algorithm, lifetime, bits)


def _algorithm(table: Section, default: int) -> int:
    value = table.raw("algorithm")
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, str | int):
        table.text("algorithm")  # says what type it must have
        return default
    try:
        return algorithm_number(str(value))
    except KeyError:
        table.error("algorithm", f'"{value}" is no algorithm', did_you_mean(str(value), ALGORITHMS))
    except ValueError as reason:
        table.error("algorithm", f'"{value}" is refused: {reason}', 'use "ecdsap256sha256" or "ed25519"')
    return default


def _lifetime(table: Section, default: int | None) -> int | None:
    if table.raw("lifetime") == "unlimited":
        return None
    if not table.has("lifetime"):
        return default
    text = table.text("lifetime", "1y")
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        table.error("lifetime", str(error), 'write "90d", or "unlimited"')
        return None
    if seconds <= 0:
        table.error("lifetime", f'"{text}" is no lifetime', 'write "90d", or "unlimited"')
        return None
    return seconds


def _bits(table: Section, algorithm: int) -> int:
    if algorithm in RSA:
        return table.integer("bits", _DEFAULT_BITS, 2_048, 4_096)
    if table.has("bits"):
        table.error("bits", f"the size of {algorithm_name(algorithm)} keys is fixed", "remove bits")
    return 0


def _manual(section: Section) -> frozenset[str]:
    steps = section.texts("manual")
    for index, step in enumerate(steps):
        if step not in MANUAL_STEPS:
            section.problems.error(
                section.at("manual", index), f'"{step}" is no step', did_you_mean(step, MANUAL_STEPS)
            )
    return frozenset(steps)


def _freeze(section: Section) -> tuple[FreezeWindow, ...]:
    found = []
    for index, text in enumerate(section.texts("freeze")):
        try:
            found.append(parse_freeze(text))
        except ValueError as error:
            section.problems.error(
                section.at("freeze", index), str(error), 'write "2026-12-20/2027-01-05" or "12-20/01-05"'
            )
    return tuple(found)
