"""Writes dnssecd/config/schema.json, the JSON Schema of the configuration file.

    .venv/bin/python docs/configuration_schema.py

Types, bounds and choices are recorded while the reader of the configuration reads config.example.toml with every
setting in use; defaults and descriptions are those of docs/configuration.md. What the reader takes in several forms
(a time or "auto") is in `FORMS`.
"""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnssecd.config import load
from dnssecd.config.algorithms import ALGORITHMS, EXPERIMENTAL
from dnssecd.config.keystores import QUIRKS
from dnssecd.config.peers import TSIG_ALGORITHMS
from dnssecd.config.policies import MANUAL_STEPS
from dnssecd.config.reader import Section

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "dnssecd/config/schema.json"
DOCUMENT = ROOT / "docs/configuration.md"

Schema = dict[str, Any]

DURATION: Schema = {"type": "string", "pattern": "^\\s*[+-]?([0-9]{1,10}[smhdwy])+\\s*$"}
ADDRESS: Schema = {
    "type": "string",
    "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.%]+\\]|[0-9A-Fa-f:.]+)(:[0-9]{1,5})?$",
}
TEXTS: Schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
COMMAND: Schema = {"type": ["string", "array"], "items": {"type": "string"}, "minLength": 1, "minItems": 1}
_DAY = "([0-9]{4}-)?[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2})?"


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item, "uniqueItems": True}


def _one_of(*forms: Schema) -> Schema:
    return {"anyOf": list(forms)}


#: Table and key → the form, where the reader's calls do not show it. "*" is any table.
FORMS: dict[tuple[str, str], Schema] = {
    ("server", "listen"): _list_of(ADDRESS) | {"minItems": 1},
    ("server", "resolver"): _list_of(ADDRESS),
    ("metrics", "listen"): _one_of({"const": ""}, ADDRESS),
    ("secondary", "address"): ADDRESS,
    ("primary", "address"): ADDRESS,
    ("server", "tls"): _list_of(ADDRESS),
    ("secondary", "tsig"): _one_of({"type": "string"}, TEXTS),
    ("primary", "tsig"): _one_of({"type": "string"}, TEXTS),
    ("", "include"): _one_of({"type": "string"}, TEXTS),
    ("catalog.consume", "groups"): {"type": "object", "additionalProperties": {"type": "string"}},
    ("primary.tls", "ca"): {"type": "string", "minLength": 1},
    ("secondary", "notify_tsig"): _one_of({"const": False}, {"type": "string"}),
    ("primary", "notify_tsig"): _one_of({"const": False}, {"type": "string"}),
    ("tsig", "algorithm"): {"enum": list(TSIG_ALGORITHMS)},
    ("keystore", "passphrase_file"): {"type": "string", "minLength": 1},
    ("keystore", "slot"): {"type": "integer", "minimum": 0},
    ("keystore", "quirks"): _list_of({"enum": sorted(QUIRKS)}),
    ("policy", "signature_refresh"): _one_of({"const": "auto"}, DURATION),
    ("policy", "tag_range"): {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 65535},
        "minItems": 2,
        "maxItems": 2,
    },
    ("policy", "experimental"): _list_of({"enum": sorted(EXPERIMENTAL)}),
    ("policy", "manual"): _list_of({"enum": list(MANUAL_STEPS)}),
    ("policy", "freeze"): _list_of({"type": "string", "pattern": f"^{_DAY}/{_DAY}$"}),
    ("policy.role", "algorithm"): _one_of(
        {"enum": sorted({*ALGORITHMS, *EXPERIMENTAL})},
        {"enum": sorted({*ALGORITHMS.values(), *EXPERIMENTAL.values()})},
    ),
    ("policy.role", "lifetime"): _one_of({"const": "unlimited"}, DURATION),
    ("policy.role", "keystore"): {"type": "string"},
    ("policy.role", "bits"): {"type": "integer", "minimum": 2048, "maximum": 4096},
    ("zone", "review"): COMMAND,
    ("zone", "published"): COMMAND,
    ("zone", "max_transfer_mib"): {"type": "integer", "minimum": 1, "maximum": 1048576},
    ("zone", "max_change"): {"type": "string", "pattern": "^\\s*[0-9]{1,3}(\\.[0-9]{1,3})?\\s*%\\s*$"},
    ("zone.parent", "servers"): _list_of(ADDRESS),
    ("zone.parent", "hook"): COMMAND,
    ("zone.other_signers", "servers"): _list_of(ADDRESS) | {"minItems": 1},
    ("alerts.command", "run"): COMMAND,
    ("alerts.mail", "recipient_certificates"): {
        "type": "object",
        "additionalProperties": {"type": "string", "minLength": 1},
    },
    ("alerts", "docs_url"): {"type": "string", "pattern": "^(https?|file)://"},
    ("backup", "check_at"): {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
    ("anchors", "url"): {"type": "string", "pattern": "^https?://"},
    ("alerts.webhook", "url"): {"type": "string", "pattern": "^https?://"},
}

#: Heading → the tables that it describes, where the heading is not the name of a table.
ELSEWHERE = {"tls of a secondary or primary": "peer.tls"}

#: What docs/configuration.md has in prose.
PROSE = {
    "policy.role": {
        "algorithm": "ecdsap256sha256, ecdsap384sha384, ed25519, ed448, rsasha256 or rsasha512; for trials mldsa44.",
        "bits": "The size of an RSA key, 2048 to 4096.",
        "keystore": "The key store for keys of this role; default: that of the policy.",
        "lifetime": 'A time after which the key is replaced, or "unlimited".',
    },
    "": {
        "server": "Addresses, state directory and clock.",
        "metrics": "The HTTP server of Prometheus metrics.",
        "log": "The log on standard error.",
        "signer": "The key service.",
        "roles": "Unix groups that may use commands.",
        "keystore": "Key stores, by name.",
        "tsig": "TSIG keys, by name.",
        "secondary": "Servers that transfer zones from dnssecd, by name.",
        "primary": "Servers that dnssecd transfers unsigned zones from, by name.",
        "policy": "Policies of zones, by name.",
        "zone": "Zones, by name.",
        "alerts": "Channels for alerts.",
        "backup": "The backups that the daemon checks.",
        "anchors": "Trust anchors that are published.",
        "include": "Further files with zones, templates, peers and TSIG keys; patterns are allowed.",
        "zone-template": "Settings that several zones share, by name.",
        "catalog": "Catalog zones (RFC 9432), by name.",
        "alerts.mail": "Alerts by mail.",
        "alerts.webhook": "Alerts by HTTP POST.",
        "alerts.command": "Alerts to a program.",
        "cluster.nodes": "The nodes of the cluster, by name.",
    },
}

#: Tables with names of the operator's choice.
NAMED = ("keystore", "tsig", "secondary", "primary", "policy", "zone", "zone-template", "catalog")
NAMED_BELOW = ("keystore.token", "zone.other_signers", "cluster.nodes")
_GROUPS = {tuple(name.split(".")) for name in (*NAMED, *NAMED_BELOW, "catalog.consume.groups")}
_ROLES = ("ksk", "zsk", "csk")
#: What a key store with several tokens has once.
_OF_STORE = frozenset({"type", "standby", "token", "validated", "sharing", "passphrase_file"})


def table_of(path: tuple[str | int, ...]) -> str:
    """Return the kind of a table by its path: `policy.role`, `keystore.token`, `zone.parent`, `alerts.mail`."""
    if not path:
        return ""
    kind = str(path[0])
    rest = path[2:] if kind in NAMED else path[1:]
    if kind == "policy" and rest:
        return "policy.role"
    return ".".join([kind, *(str(rest[0]) for _ in rest[:1])])


class Recorder:
    """Notes how each key of each table is read."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Schema]] = {}
        self.required: dict[str, set[str]] = {}

    def note(self, section: Section, key: str, form: Schema | None) -> None:
        path = section.path
        if path in _GROUPS or (path[:1] in _GROUPS and (path[0], *path[2:]) in _GROUPS and len(path) > 2):
            return  # its keys are names
        table = table_of(section.path)
        if table == "keystore":
            table = f"keystore:{section._table.get('type', 'software')}"
        keys = self.tables.setdefault(table, {})
        if not keys.get(key):  # the first is the outermost: a choice reads a text
            keys[key] = FORMS.get((table.partition(":")[0], key), form) or {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note what is read inside."""
        kept = {name: getattr(Section, name) for name in (*_READERS, "require", "has", "raw")}
        for name, form in _READERS.items():
            setattr(Section, name, self._wrap(kept[name], form))
        setattr(Section, "require", self._wrap_require(kept["require"]))  # noqa: B010
        for name in ("has", "raw"):
            setattr(Section, name, self._wrap(kept[name], lambda *_, **__: None))
        try:
            yield
        finally:
            for name, method in kept.items():
                setattr(Section, name, method)

    def _wrap(self, method: Callable[..., Any], form: Callable[..., Schema | None]) -> Callable[..., Any]:
        def read(section: Section, key: str, *args: Any, **named: Any) -> Any:
            self.note(section, key, form(*args, **named))
            return method(section, key, *args, **named)

        return read

    def _wrap_require(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def require(section: Section, key: str, remedy: str) -> Any:
            self.required.setdefault(table_of(section.path), set()).add(key)
            return method(section, key, remedy)

        return require


def _integer(default: int, low: int, high: int) -> Schema:
    found: Schema = {"type": "integer", "minimum": low}
    return found if high > 2**53 else found | {"maximum": high}


_READERS: dict[str, Callable[..., Schema | None]] = {
    "text": lambda *_, **__: {"type": "string"},
    "flag": lambda *_, **__: {"type": "boolean"},
    "integer": _integer,
    "choice": lambda options, *_, **__: {"enum": list(options)},
    "duration": lambda *_, **__: DURATION,
    "path_of": lambda *_, **__: {"type": "string", "minLength": 1},
    "texts": lambda *_, **__: TEXTS,
}


def record() -> Recorder:
    """Read the example configuration with every setting in use."""
    recorder = Recorder()
    example = (ROOT / "config.example.toml").read_text()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config.toml"
        path.write_text(re.sub(r"^#(?! )", "", example, flags=re.M))
        with recorder.recording():
            load(path, read_secrets=False)
    return recorder


_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.*?) ?\|$", flags=re.M)


def described() -> dict[str, dict[str, tuple[str, str]]]:
    """Return kind of table → key → (default, meaning) of docs/configuration.md, as Markdown."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for part in re.split(r"^## ", DOCUMENT.read_text(), flags=re.M)[1:]:
        heading = part.partition("\n")[0]
        kind = ELSEWHERE.get(heading) or heading.strip("[]").removesuffix(".NAME")
        if not heading.startswith("[") and heading not in ELSEWHERE:
            continue
        table = found.setdefault(kind, {})
        for key, default, meaning in _ROW.findall(part):
            if not table.get(key, ("", ""))[1]:
                table[key] = (default, meaning)
    return found


def described_keystores() -> dict[str, dict[str, tuple[str, str]]]:
    """Return the same of each type of key store: `keystore:pkcs11` → key → (default, meaning)."""
    part = DOCUMENT.read_text().partition("\n## [keystore.NAME]\n")[2].partition("\n## ")[0]
    _, *pieces = re.split(r'^`type = "(\w+)"`', part, flags=re.M)
    return {
        f"keystore:{kind}": {
            key: (default, meaning) for key, default, meaning in _ROW.findall(text) if meaning
        }
        for kind, text in zip(pieces[::2], pieces[1::2], strict=True)
    }


def _introduction(table: str) -> str:
    """Return the first sentence below the heading of a table in docs/configuration.md."""
    text = DOCUMENT.read_text().partition(f"\n## [{table}]\n")[2].strip()
    return re.split(r"(?<=[.:])\s", " ".join(text.split()).replace("`", ""), maxsplit=1)[0]


def build() -> Schema:
    """Return the schema."""
    recorder, texts, of_types = record(), described(), described_keystores()

    def properties(table: str) -> dict[str, Schema]:
        kind = table.partition(":")[0]
        about = (texts.get(kind) or texts.get(kind.partition(".")[0], {})) | of_types.get(table, {})
        if kind in ("secondary.tls", "primary.tls"):
            about = texts["peer.tls"]
        if kind in PROSE:
            about = {key: ("", text) for key, text in PROSE[kind].items()}
        return {
            key: form | _describe(*about.get(key, ("", "")), form)
            for key, form in sorted(recorder.tables[table].items())
        }

    def closed(table: str, **more: Schema) -> Schema:
        form: Schema = {
            "type": "object",
            "properties": dict(sorted((properties(table) | more).items())),
            "additionalProperties": False,
        }
        needed = sorted(recorder.required.get(table, ()))
        return form | ({"required": needed} if needed else {})

    role = closed("policy.role")
    parent = closed("zone.parent")
    zone = closed(
        "zone",
        allow_update={"type": "array", "items": closed("zone.allow_update")}
        | _describe_of(texts, "zone", "allow_update"),
        other_signers={"type": "object", "additionalProperties": closed("zone.other_signers")}
        | _describe_of(texts, "zone", "other_signers"),
        parent={"anyOf": [{"const": "none"}, parent]} | _describe_of(texts, "zone", "parent"),
    )
    policy = closed("policy", **{name: role | _describe_of(texts, "policy", name) for name in _ROLES})
    special = {
        "keystore": _named(_keystore(properties), some=True),
        "policy": _named(policy, some=True),
        "zone": _named(zone),
        "zone-template": _named({key: form for key, form in zone.items() if key != "required"}),
    }
    tops = dict.fromkeys(re.split("[:.]", table)[0] for table in recorder.tables if table)
    tables = {}
    for name in tops:
        below = {
            table.partition(".")[2]: (_named(closed(table)) if table in NAMED_BELOW else closed(table))
            | (
                _describe_of(texts, name, table.partition(".")[2])
                or {"description": PROSE[""].get(table, "")}
            )
            for table in recorder.tables
            if table.startswith(f"{name}.") and name not in special
        }
        form = special.get(name) or closed(name, **below)
        form = _named(form) if name in NAMED and name not in special else form
        tables[name] = {"description": PROSE[""].get(name) or _introduction(name)} | form
    tables["include"] = {"description": PROSE[""]["include"]} | FORMS["", "include"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "dnssecd configuration",
        "description": "The configuration file of dnssecd, /etc/dnssecd/config.toml.",
        "type": "object",
        "properties": tables,
        "required": ["server", "keystore", "policy"],
        "additionalProperties": False,
    }


def _keystore(properties: Callable[[str], dict[str, Schema]]) -> Schema:
    """Return the form of a key store: which keys there are depends on its type."""
    pkcs11 = properties("keystore:pkcs11")
    token = {key: form for key, form in pkcs11.items() if key not in _OF_STORE}
    token = {key: {k: v for k, v in form.items() if k != "default"} for key, form in token.items()}
    pkcs11["token"] = {
        "type": "object",
        "additionalProperties": {"type": "object", "properties": token, "additionalProperties": False},
        "minProperties": 1,
    } | ({"description": pkcs11["token"]["description"]} if "description" in pkcs11.get("token", {}) else {})
    forms: dict[str, dict[str, Schema]] = {
        "software": {k: v for k, v in properties("keystore:software").items() if k != "validated"},
        "pkcs11": pkcs11,
        "offline": properties("keystore:offline"),
    }
    for kind, keys in forms.items():
        keys["type"] = {"const": kind, "description": "The kind of key store: software, pkcs11 or offline."}
    objects = [
        {
            "type": "object",
            "properties": dict(sorted(keys.items())),
            "additionalProperties": False,
            **({} if kind == "software" else {"required": ["type"]}),
        }
        for kind, keys in forms.items()
    ]
    return {"anyOf": objects}


def _named(form: Schema, *, some: bool = False) -> Schema:
    found: Schema = {"type": "object", "additionalProperties": form}
    return found | ({"minProperties": 1} if some else {})


def _describe_of(texts: dict[str, dict[str, tuple[str, str]]], table: str, key: str) -> Schema:
    return _describe(*texts.get(table, {}).get(key, ("", "")), {})


def _describe(default: str, meaning: str, form: Schema) -> Schema:
    """Return `description` and `default` of a key, from the columns of the document."""
    found: Schema = {}
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", meaning).replace("`", "").replace("**", "").strip()
    if text:
        is_literal = meaning.startswith(("`", "dnssecd", "true", "false"))
        found["description"] = text if is_literal else text[:1].upper() + text[1:]
    if re.fullmatch("`[^`]+`", default) and default != "`tsig`":
        value = tomllib.loads(f"v = {default.strip('`')}")["v"]
        found["default"] = value
    return found


def written() -> str:
    """The file as it should be."""
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(written())
