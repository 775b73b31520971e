"""``[policy.*]``: keys, denial, signature times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from dnssecd.config.algorithms import (
    ALGORITHMS,
    EXPERIMENTAL,
    RSA,
    algorithm_name,
    algorithm_number,
    algorithm_warning,
    is_supported,
)
from dnssecd.config.errors import did_you_mean
from dnssecd.config.freeze import FreezeWindow, parse_freeze
from dnssecd.config.key_limits import read_key_limits, read_tag_range
from dnssecd.config.model import (
    Keystore,
    KeyTemplate,
    OfflineKeystore,
    Pkcs11Keystore,
    Policy,
    SoftwareKeystore,
)
from dnssecd.config.peers import check_label
from dnssecd.config.presets import apply_preset
from dnssecd.config.reader import Section
from dnssecd.config.timing import check_lifetimes, read_timing
from dnssecd.durations import parse_duration
from dnssecd.replacing import replace

DAY = 86_400
MANUAL_STEPS = ("zsk", "ksk", "algorithm", "denial")
_DEFAULT_BITS = 2_048
_DEFAULT_ALGORITHM = ALGORITHMS["ecdsap256sha256"]
_ZSK_LIFETIME = 90 * DAY


def policies(root: Section, keystores: dict[str, Keystore]) -> dict[str, Policy]:
    """Return all policies by name."""
    found: dict[str, Policy] = {}
    for name, table in root.children("policy"):
        check_label(name, table)
        section, preset, from_preset = apply_preset(table)
        found[name] = replace(_policy(name, section, keystores), preset=preset, from_preset=from_preset)
        section.finish()
    return found


def reference(section: Section, key: str, known: Mapping[str, Any], default: str, kind: str) -> str:
    """Return the name at *key*, which must be in *known*. Absent: *default*, or the only name in *known*."""
    name = section.text(key)
    if not name:
        name = next(iter(known)) if len(known) == 1 else default
    if name not in known:
        section.error(key, f'there is no {kind} "{name}"', did_you_mean(name, known))
    return name


def _policy(name: str, section: Section, keystores: dict[str, Keystore]) -> Policy:
    keystore = _default_keystore(section, keystores)
    ksk, zsk, csk = _templates(section, keystore, keystores)
    _check_experimental(section, keystores, ksk, zsk, csk)
    _check_offline(section, keystores, ksk=ksk, zsk=zsk, csk=csk)
    _check_who_makes_keys(section, keystores, ksk, zsk, csk)
    timing = read_timing(section)
    check_lifetimes(section, timing, ksk=ksk, zsk=zsk, csk=csk)
    limits = read_key_limits(section, timing)
    denial: Literal["nsec3", "nsec"] = section.choice("denial", ("nsec3", "nsec"), "nsec3")
    opt_out = section.flag("nsec3_opt_out")
    if opt_out and denial == "nsec":
        section.error(
            "nsec3_opt_out", "NSEC has no opt-out", 'write denial = "nsec3" or nsec3_opt_out = false'
        )
    return Policy(
        name=name,
        keystore=keystore,
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
        csync=section.choice("csync", ("auto", "never"), "never"),
        rfc5011=section.flag("rfc5011"),
        standby_ksk=section.flag("standby_ksk"),
        standby_zsk=_standby_zsk(section, csk),
        require_backup=section.flag("require_backup"),
        held_by_min=section.integer("held_by_min", 2, 2, 16),
        keys=section.choice("keys", ("made", "given"), "made"),
        manual=_manual(section),
        freeze=_freeze(section),
        signed=section.flag("signed", True),
        validity_max=limits.validity_s_max,
        destroy_after=limits.destroy_after_s,
        two_person=limits.two_person,
        foreign_keys=_foreign_keys(section),
        tag_range=read_tag_range(section),
        experimental=_experimental(section),
    )


def _experimental(section: Section) -> tuple[str, ...]:
    names = section.texts("experimental")
    for index, name in enumerate(names):
        if name not in EXPERIMENTAL:
            section.problems.error(
                section.at("experimental", index),
                f'"{name}" is not an experimental algorithm',
                did_you_mean(name, EXPERIMENTAL),
            )
    return names


def _check_experimental(
    section: Section, keystores: dict[str, Keystore], *templates: KeyTemplate | None
) -> None:
    """Warn of experimental algorithms; an error where their keys cannot be in the key store."""
    used = [one for one in templates if one is not None and one.algorithm in EXPERIMENTAL.values()]
    for algorithm in dict.fromkeys(one.algorithm for one in used):
        section.warn(
            "experimental",
            f"{algorithm_name(algorithm)} is experimental: validators that do not know it treat the zone as "
            "unsigned, and its signatures have thousands of octets",
            "see the sizes first: dnssecd simulate ZONE --algorithm mldsa44 (docs/post-quantum.md)",
        )
        if not is_supported(algorithm):
            section.error(
                "experimental",
                f"the cryptography library of this host has no {algorithm_name(algorithm)}",
                "install cryptography 47 or newer, built with OpenSSL 3.5 or newer, or use another algorithm",
            )
    for name in dict.fromkeys(one.keystore for one in used):
        if name in keystores and not isinstance(keystores[name], SoftwareKeystore):
            section.error(
                "keystore",
                f'keys of experimental algorithms cannot be in key store "{name}": it is not a software store',
                'name a key store with type = "software"',
            )


def _check_who_makes_keys(
    section: Section, keystores: dict[str, Keystore], *templates: KeyTemplate | None
) -> None:
    """Warn of a policy that has keys made in a token that makes none."""
    if section.raw("keys") == "given":
        return
    for name in dict.fromkeys(template.keystore for template in templates if template is not None):
        store = keystores.get(name)
        if isinstance(store, Pkcs11Keystore) and store.tokens and "makes-no-keys" in store.tokens[0].quirks:
            what = f'keys are to be made, but the first token of key store "{name}" makes none (quirks)'
            section.warn("keys", what, 'write keys = "given"')


def _foreign_keys(section: Section) -> Literal["strip", "input"]:
    chosen: Literal["strip", "input"] = section.choice("foreign_keys", ("strip", "input"), "strip")
    return chosen


def _check_offline(
    section: Section,
    keystores: dict[str, Keystore],
    *,
    ksk: KeyTemplate | None,
    zsk: KeyTemplate | None,
    csk: KeyTemplate | None,
) -> None:
    """Report what a policy cannot want of a key store that is off-line."""

    def offline(template: KeyTemplate | None) -> bool:
        return template is not None and isinstance(keystores.get(template.keystore), OfflineKeystore)

    for role, template in (("zsk", zsk), ("csk", csk)):
        if template is not None and offline(template):
            store = f'the off-line key store "{template.keystore}"'
            what = f"a {role.upper()} signs the zone's data, so it cannot be in {store}"
            where = section.at(role, "keystore") if section.has(role) else section.at("keystore")
            section.problems.error(where, what, f'name another in {role} = {{ keystore = "…" }}')
    if not offline(ksk):
        return
    for key in ("standby_ksk", "rfc5011", "share_keys"):
        if section.flag(key):
            section.error(
                key, "it does not go with an off-line KSK", f"remove {key}, or use another key store"
            )
    if _foreign_keys(section) == "input":
        section.error(
            "foreign_keys",
            "a ceremony signs no DNSKEY RRset with keys of other signers",
            'write foreign_keys = "strip", or use another key store for the KSK',
        )


def _default_keystore(section: Section, keystores: dict[str, Keystore]) -> str:
    """Return the key store of roles that name none; the first role's where each role names one."""
    if not section.has("keystore"):
        roles = ("csk",) if section.has("csk") else ("ksk", "zsk")
        tables = [section.raw(role) for role in roles]
        named = [table.get("keystore") for table in tables if isinstance(table, dict)]
        if len(named) == len(roles) and all(isinstance(name, str) and name in keystores for name in named):
            return str(named[0])
    return reference(section, "keystore", keystores, "local", "key store")


def _standby_zsk(section: Section, csk: KeyTemplate | None) -> bool:
    wanted = section.flag("standby_zsk")
    if wanted and csk is not None:
        section.error("standby_zsk", "a zone with a CSK has no ZSK", "remove it, or write standby_ksk = true")
    return wanted


def _templates(
    section: Section, keystore: str, keystores: dict[str, Keystore]
) -> tuple[KeyTemplate | None, KeyTemplate | None, KeyTemplate | None]:
    """Return (ksk, zsk, csk): either csk is None or the other two. All have one algorithm (RFC 4035 §2.2)."""
    default = KeyTemplate(_DEFAULT_ALGORITHM, None, keystore)
    split = [role for role in ("ksk", "zsk") if section.has(role)]
    if section.has("csk"):
        if split:
            section.error("csk", f"a CSK replaces KSK and ZSK, but {split[0]} is given", "remove one")
        return None, None, _template(section, "csk", default, keystores)
    ksk = _template(section, "ksk", default, keystores)
    zsk_default = KeyTemplate(ksk.algorithm, _ZSK_LIFETIME, keystore, ksk.bits)
    zsk = _template(section, "zsk", zsk_default, keystores)
    own = section.raw("ksk")
    if not isinstance(own, dict) or "algorithm" not in own:  # a KSK without algorithm has the ZSK's
        ksk = replace(ksk, algorithm=zsk.algorithm, bits=zsk.bits)
    if ksk.algorithm != zsk.algorithm:
        section.problems.error(
            section.at("zsk", "algorithm"),
            f"KSK ({algorithm_name(ksk.algorithm)}) and ZSK ({algorithm_name(zsk.algorithm)}) differ in "
            "algorithm: every RRset must be signed by every algorithm in the DNSKEY RRset (RFC 4035 §2.2)",
            "give both the same algorithm",
        )
    return ksk, zsk, None


def _template(
    section: Section, role: str, default: KeyTemplate, keystores: dict[str, Keystore]
) -> KeyTemplate:
    table = section.table(role)
    if table is None:
        return default
    algorithm = _algorithm(table, default.algorithm, _experimental(section))
    lifetime = _lifetime(table, default.lifetime)
    bits = _bits(table, algorithm)
    keystore = default.keystore
    if table.has("keystore"):
        keystore = reference(table, "keystore", keystores, default.keystore, "key store")
    table.finish()
    return KeyTemplate(algorithm, lifetime, keystore, bits)


def _algorithm(table: Section, default: int, experimental: tuple[str, ...]) -> int:
    value = table.raw("algorithm")
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, str | int):
        table.text("algorithm")  # says what type it must have
        return default
    try:
        number = algorithm_number(str(value), experimental)
    except KeyError:
        table.error("algorithm", f'"{value}" is not an algorithm', did_you_mean(str(value), ALGORITHMS))
    except ValueError as reason:
        remedy = 'use "ecdsap256sha256" or "ed25519"'
        if str(value) in EXPERIMENTAL:
            remedy += f'; for a trial write experimental = ["{value}"] in the policy (docs/post-quantum.md)'
        table.error("algorithm", f'"{value}" is refused: {reason}', remedy)
    else:
        if warning := algorithm_warning(number):
            table.warn("algorithm", warning, 'use "ecdsap256sha256" or "ed25519"')
        return number
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
        table.error("lifetime", f'"{text}" is not a lifetime', 'write "90d", or "unlimited"')
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
                section.at("manual", index), f'"{step}" is not a step', did_you_mean(step, MANUAL_STEPS)
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
