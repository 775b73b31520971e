"""What a release consists of: one version, one address, lock files with hashes, SBOM, licences and notices."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import dnssecd

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "deploy/packaging"))
import sbom  # noqa: E402

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.txt", "requirements-cluster.txt", "requirements-build.txt", "requirements-dev.txt")


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", (ROOT / name).read_text(), re.M))


def test_one_version() -> None:
    assert dnssecd.__version__ == PROJECT["version"]
    assert f"\n## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_no_address_is_a_placeholder() -> None:
    assert not any("email" in person for person in (*PROJECT["authors"], *PROJECT["maintainers"]))
    for name in ("SECURITY.md", "README.md", "CONTRIBUTING.md", "deploy/packaging/debian/control.in"):
        assert not re.search(r"[\w.-]+@[\w-]+\.\w+", (ROOT / name).read_text()), name


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.M)[1:]
    assert len(blocks) > 20
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_lock_files_agree_and_satisfy_the_project() -> None:
    whole = pins("requirements-dev.txt")
    for name in LOCKS:
        assert pins(name).items() <= whole.items(), name
    extras = PROJECT["optional-dependencies"]
    wanted = {
        "requirements.txt": PROJECT["dependencies"],
        "requirements-cluster.txt": [*PROJECT["dependencies"], *extras["cluster"]],
        "requirements-build.txt": [*PROJECT["dependencies"], *extras["cluster"], *extras["build"]],
        "requirements-dev.txt": extras["dev"],
    }
    for name, texts in wanted.items():
        found = {sbom.normal(package): version for package, version in pins(name).items()}
        for one in map(Requirement, texts):
            assert found[sbom.normal(one.name)] in one.specifier, f"{one}: run scripts/lock"


def test_set_up_checks_hashes() -> None:
    assert "--require-hashes" in (ROOT / "scripts/setup-venv").read_text()


def test_bill_of_materials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    document = sbom.build()
    text = json.dumps(document)
    # Imported here: jsonschema makes forty grammars then.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    names = {one["name"] for one in document["components"]}
    assert {
        "cryptography",
        "dnspython",
        "python-pkcs11",
        "openssl",
        "psycopg-binary",
        "libpq",
        "libssl",
    } <= names
    assert not {"pytest", "colorama", "dnssecd"} & names
    assert all(one["licenses"] for one in document["components"])
    refs = {one["ref"] for one in document["dependencies"]}
    needed = {need for one in document["dependencies"] for need in one["dependsOn"]}
    assert needed | refs == {
        one["bom-ref"] for one in (*document["components"], document["metadata"]["component"])
    }
    (root,) = [
        one for one in document["dependencies"] if one["ref"] == document["metadata"]["component"]["bom-ref"]
    ]
    extra = PROJECT["optional-dependencies"]["cluster"]
    assert len(root["dependsOn"]) == len(PROJECT["dependencies"]) + len(extra)


def test_another_version_than_the_locked_one_is_no_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = sbom.locked()
    name, (_, hashes) = next(iter(locked.items()))
    monkeypatch.setattr(sbom, "locked", lambda: locked | {name: ("0.0.1", hashes)})
    with pytest.raises(sbom.LockDiffers):
        sbom.build()


def test_notices_of_included_packages_are_in_notice() -> None:
    ours = " ".join((ROOT / "NOTICE").read_text().split())
    for name in sbom.locked():
        for file in distribution(name).files or ():
            if file.name.upper().startswith("NOTICE"):
                text = Path(str(distribution(name).locate_file(file))).read_text()
                for paragraph in re.split(r"\n{2,}", text.strip()):
                    assert " ".join(paragraph.split()) in ours, f"{name}: {paragraph}"


def test_notice_is_packaged() -> None:
    assert '"NOTICE"' in (ROOT / "deploy/packaging/stage.py").read_text()
    assert "NOTICE" in (ROOT / "deploy/container/Containerfile").read_text()
