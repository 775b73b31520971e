"""The parts of the package as CycloneDX 1.6 JSON (SBOM): requirements-cluster.txt, and C libraries in its packages.

    python deploy/packaging/sbom.py FILE

Versions and hashes are those of the lock file, licences those that the installed packages state. The same sources give
the same file: it has no serial number, and its time is SOURCE_DATE_EPOCH, if set.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

LOCK = Path(__file__).parents[2] / "requirements-cluster.txt"
OURSELVES, EXTRAS = "dnssecd", ("cluster",)
#: The wheel with libpq and what it needs, as files NAME-DIGEST.so.VERSION.
_LIBPQ = "psycopg-binary"
_LIBRARY = re.compile(r"(lib[a-z0-9_]+)-[0-9a-f]+\.so\.([0-9.]+)")
_LIBRARY_LICENCES = {
    "libpq": "PostgreSQL",
    "libssl": "Apache-2.0",
    "libcrypto": "Apache-2.0",
    "libldap": "OLDAP-2.8",
    "liblber": "OLDAP-2.8",
    "libsasl2": "BSD-3-Clause-Attribution",
    "libkeyutils": "LGPL-2.1-or-later",
    "libcrypt": "LGPL-2.1-or-later",
}
_PINNED = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\\n]+))?((?:\s*\\?\n?\s+--hash=sha256:[0-9a-f]{64})*)",
    re.M,
)


class LockDiffers(Exception):
    """The installed packages are not those of the lock file."""


def locked() -> dict[str, tuple[str, list[str]]]:
    """Return name → (version, SHA-256 hashes of its files) of the packages that this platform needs."""
    found = {}
    for name, version, marker, hashes in _PINNED.findall(LOCK.read_text()):
        requirement = Requirement(f"{name}; {marker}" if marker else name)
        if requirement.marker is None or requirement.marker.evaluate():
            found[normal(name)] = (version, sorted(re.findall("[0-9a-f]{64}", hashes)))
    return found


def normal(name: str) -> str:
    """Return the normalized name of a package."""
    return re.sub(r"[-_.]+", "-", name).lower()


def build() -> dict[str, Any]:
    """Return the document. Raise LockDiffers when another version is installed than the lock file has."""
    parts = locked()
    ours = distribution(OURSELVES)
    installed = {name: distribution(name) for name in parts}
    for name, (version, _) in parts.items():
        if installed[name].version != version:
            raise LockDiffers(f"{name} {installed[name].version} is installed; {LOCK.name} has {version}")
    component = {"type": "application", "bom-ref": _ref(OURSELVES, ours.version), "name": OURSELVES}
    metadata: dict[str, Any] = {
        "component": component | {"version": ours.version, "licenses": _licences(ours)}
    }
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        metadata = {"timestamp": datetime.fromtimestamp(int(epoch), UTC).isoformat(), **metadata}
    components = [_component(installed[name], *parts[name]) for name in sorted(parts)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": [*components, _openssl(), *_libraries()],
        "dependencies": list(_dependencies({OURSELVES: ours, **installed})),
    }


def _component(package: Distribution, version: str, hashes: list[str]) -> dict[str, Any]:
    name = normal(package.metadata["Name"])
    return {
        "type": "library",
        "bom-ref": _ref(name, version),
        "name": name,
        "version": version,
        "purl": _ref(name, version),
        "licenses": _licences(package),
        "externalReferences": [
            {
                "type": "distribution",
                "url": _ref(name, version),
                "comment": "the hashes of all files of this version that the lock file permits",
                "hashes": [{"alg": "SHA-256", "content": content} for content in hashes],
            }
        ],
    }


def _openssl() -> dict[str, Any]:
    """Return the OpenSSL in the wheel of `cryptography`: updates of Debian's OpenSSL do not reach it."""
    from cryptography.hazmat.backends.openssl.backend import backend

    version = backend.openssl_version_text().split()[1]
    return {
        "type": "library",
        "bom-ref": f"pkg:generic/openssl@{version}",
        "name": "openssl",
        "version": version,
        "purl": f"pkg:generic/openssl@{version}",
        "description": "statically linked into the wheel of cryptography",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }


def _libraries() -> list[dict[str, Any]]:
    """Return the libraries in the wheel with libpq; where a file does not say its version, that of its interface."""
    found = []
    for file in distribution(_LIBPQ).files or ():
        named = _LIBRARY.fullmatch(file.name)
        if named is not None:
            name, version = named.groups()
            if name in ("libssl", "libcrypto"):
                version = _openssl_of_libpq()
            reference = f"pkg:generic/{name}@{version}?in={_LIBPQ}"
            licence = _LIBRARY_LICENCES.get(name, "MIT")  # the others are MIT Kerberos
            found.append(
                {
                    "type": "library",
                    "bom-ref": reference,
                    "name": name,
                    "version": version,
                    "description": f"a file in the wheel of {_LIBPQ}",
                    "licenses": [{"license": {"id": licence}}],
                }
            )
    return found


def _openssl_of_libpq() -> str:
    for file in distribution(_LIBPQ).files or ():
        if file.name.startswith("libcrypto-"):
            content = Path(str(distribution(_LIBPQ).locate_file(file))).read_bytes()
            text = re.search(rb"OpenSSL (\d+\.\d+\.\d+)", content)
            if text is not None:
                return text[1].decode()
    raise LockDiffers(f"the wheel of {_LIBPQ} has no OpenSSL that says its version")


def _ref(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def _licences(package: Distribution) -> list[dict[str, Any]]:
    expression = package.metadata["License-Expression"]
    if expression:
        return [{"expression": expression}]
    classifiers = [
        text for text in package.metadata.get_all("Classifier") or () if text.startswith("License ::")
    ]
    stated = package.metadata["License"] or ", ".join(text.rpartition(" :: ")[2] for text in classifiers)
    return [{"license": {"name": stated.splitlines()[0]}}] if stated else []


def _dependencies(packages: dict[str, Distribution]) -> Iterator[dict[str, Any]]:
    refs = {name: _ref(name, package.version) for name, package in packages.items()}
    for name, package in packages.items():
        extras = EXTRAS if name == OURSELVES else ()
        needs = {normal(one.name) for one in map(Requirement, package.requires or ()) if applies(one, extras)}
        found = sorted(refs[need] for need in needs if need in refs)
        if name == "cryptography":
            found.append(_openssl()["bom-ref"])
        if name == "psycopg":
            found.append(refs[_LIBPQ])
        if name == _LIBPQ:
            found += [one["bom-ref"] for one in _libraries()]
        yield {"ref": refs[name], "dependsOn": found}


def applies(requirement: Requirement, extras: Iterable[str] = ()) -> bool:
    """Tell whether a requirement of a package counts on this platform, with these of its extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def write(path: Path) -> None:
    """Write the document."""
    path.write_text(json.dumps(build(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
