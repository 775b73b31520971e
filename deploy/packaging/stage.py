"""Prepare the file tree of an installation: a private Python environment, units, manual, completions, examples.

    python deploy/packaging/stage.py [--destdir DIR] [--prefix /usr/local] [--python /usr/bin/python3.11] [--remove]

The environment contains dnssecd and its packages in the tested versions: they are copied from the environment of this
script, with compiled byte code (the services have no write access to it). `dnssecd init` writes the configuration.
--remove deletes what an earlier run put there, and nothing else: configuration, zones, keys and users stay.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "deploy/packaging"))
import manpages  # noqa: E402
import sbom  # noqa: E402

#: What a package can do without a further installation: a cluster.
EXTRAS = ("cluster",)
VERSION_DIR = f"python{sys.version_info.major}.{sys.version_info.minor}"
DOCUMENTS = ("README.md", "CHANGELOG.md", "SECURITY.md", "NOTICE", "config.example.toml", "docs/*.md")
EXAMPLES = ("secondaries", "prometheus", "grafana", "container", "systemd")
COMPLETIONS = {
    "bash": "share/bash-completion/completions/dnssecd",
    "zsh": "share/zsh/vendor-completions/_dnssecd",
    "fish": "share/fish/vendor_completions.d/dnssecd.fish",
}


@dataclass(frozen=True)
class Layout:
    """The paths: below `destdir` now, and their final place."""

    destdir: Path
    prefix: str
    python: Path

    def at(self, path: str) -> Path:
        """Return the place of a path below the prefix; create its directory."""
        return self.absolute(f"{self.prefix}/{path}")

    def absolute(self, path: str) -> Path:
        place = self.destdir / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    @property
    def home(self) -> str:
        return f"{self.prefix}/lib/dnssecd"

    @property
    def site(self) -> Path:
        return self.absolute(f"{self.home}/lib/{VERSION_DIR}/site-packages")


def stage(layout: Layout) -> None:
    """Put everything in place."""
    os.umask(0o022)
    shutil.rmtree(layout.absolute(layout.home), ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        unpack(build_wheel(Path(scratch)), layout.site)
    for package in needed():
        copy_package(package, layout.site)
    environment(layout)
    units(layout)
    documents(layout)
    completions(layout)
    secrets(layout)


def build_wheel(directory: Path) -> Path:
    """Build the wheel from a copy of the sources, so that these stay unchanged; return its path."""
    copy = directory / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(SOURCE / name, copy)
    shutil.copytree(SOURCE / "systemd", copy / "systemd")
    shutil.copytree(SOURCE / "dnssecd", copy / "dnssecd", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-w", str(directory), str(copy)], check=True, timeout=300)
    (wheel,) = directory.glob("*.whl")
    return wheel


def unpack(wheel: Path, site: Path) -> None:
    """Unpack a wheel that is pure Python, without its scripts and data (the units are put elsewhere)."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site, [name for name in archive.namelist() if ".data/" not in name])


def needed() -> list[Distribution]:
    """Return the packages that `dnssecd` requires with `EXTRAS`, and their requirements, by name."""
    found: dict[str, Distribution] = {}
    done: set[str] = set()
    waiting = [Requirement(f"dnssecd[{','.join(EXTRAS)}]")]
    while waiting:
        wanted = waiting.pop()
        if str(wanted) not in done:
            done.add(str(wanted))
            package = distribution(wanted.name)
            found[sbom.normal(wanted.name)] = package
            waiting += _requirements(package, wanted.extras)
    del found["dnssecd"]
    return [found[name] for name in sorted(found)]


def _requirements(package: Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    for requirement in map(Requirement, package.requires or ()):
        if sbom.applies(requirement, extras):
            requirement.marker = None
            yield requirement


def copy_package(package: Distribution, site: Path) -> None:
    """Copy an installed package's files, except its scripts and byte code."""
    for file in package.files or ():
        if file.parts[0] in ("..", "/") or "__pycache__" in file.parts:
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package.locate_file(file), target)


def environment(layout: Layout) -> None:
    """Write the files that make a directory of packages a Python environment, and the command in it."""
    home = layout.absolute(layout.home)
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin/python").symlink_to(layout.python)
    version = ".".join(map(str, sys.version_info[:3]))
    (home / "pyvenv.cfg").write_text(
        f"home = {layout.python.parent}\ninclude-system-site-packages = false\nversion = {version}\n"
    )
    command = home / "bin/dnssecd"
    command.write_text(
        f"#!{layout.home}/bin/python -I\nimport sys\n\nfrom dnssecd.cli import main\n\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    link = layout.at("bin/dnssecd")
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(f"{layout.home}/bin/dnssecd", f"{layout.prefix}/bin"))
    compile_all(layout)


def compile_all(layout: Layout) -> None:
    """Compile to byte code that Python never compares with the source: the same bytes at each build."""
    good = compileall.compile_dir(
        layout.site,
        quiet=2,
        workers=os.cpu_count() or 1,
        stripdir=str(layout.destdir),
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not good:
        raise SystemExit("a module does not compile")


def units(layout: Layout) -> None:
    """Copy systemd's files, with the path of the command."""
    for path in sorted((SOURCE / "systemd").glob("*.service")):
        text = path.read_text().replace("/usr/bin/dnssecd", f"{layout.prefix}/bin/dnssecd")
        layout.at(f"lib/systemd/system/{path.name}").write_text(text)
    for kind in ("sysusers.d", "tmpfiles.d"):
        shutil.copyfile(SOURCE / f"systemd/{kind}/dnssecd.conf", layout.at(f"lib/{kind}/dnssecd.conf"))


def documents(layout: Layout) -> None:
    """Write manual pages, documents and examples."""
    manpages.write(layout.at("share/man/x").parent)
    sbom.write(layout.at("share/doc/dnssecd/sbom.cdx.json"))
    for pattern in DOCUMENTS:
        for path in SOURCE.glob(pattern):
            shutil.copyfile(path, layout.at(f"share/doc/dnssecd/{path.name}"))
    for name in ("howto", "img"):
        shutil.copytree(SOURCE / "docs" / name, layout.at(f"share/doc/dnssecd/{name}"), dirs_exist_ok=True)
    for name in EXAMPLES:
        if (SOURCE / "deploy" / name).is_dir():
            target = layout.at(f"share/doc/dnssecd/examples/{name}")
            shutil.copytree(SOURCE / "deploy" / name, target, dirs_exist_ok=True)


def completions(layout: Layout) -> None:
    """Write the shell completions, which the program itself generates."""
    for shell, path in COMPLETIONS.items():
        asked = {**os.environ, "_DNSSECD_COMPLETE": f"source_{shell}"}
        command = [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['dnssecd']; import dnssecd.cli as c; c.main()",
        ]
        text = subprocess.run(
            command, env=asked, check=True, capture_output=True, text=True, timeout=60
        ).stdout
        layout.at(path).write_text(text.lstrip("\n"))


def secrets(layout: Layout) -> None:
    """Make the directory of the secrets that systemd passes to the daemon."""
    directory = layout.absolute("/etc/dnssecd/secrets")
    if not directory.exists():
        directory.mkdir(mode=0o700)


def remove(layout: Layout) -> None:
    """Delete what :func:`stage` made below the prefix."""
    prefix = layout.destdir / layout.prefix.lstrip("/")
    patterns = (
        "bin/dnssecd",
        "lib/systemd/system/dnssecd*.service",
        "lib/sysusers.d/dnssecd.conf",
        "lib/tmpfiles.d/dnssecd.conf",
        "share/man/man[58]/dnssecd*",
        *COMPLETIONS.values(),
    )
    for pattern in patterns:
        for path in prefix.glob(pattern):
            path.unlink()
    for directory in (layout.home, f"{layout.prefix}/share/doc/dnssecd"):
        shutil.rmtree(layout.destdir / directory.lstrip("/"), ignore_errors=True)


def interpreter() -> Path:
    """Return Debian's Python if it has the same version: the services cannot access one below /home or /root."""
    system = Path("/usr/bin") / VERSION_DIR
    return system if system.exists() else Path(sys.executable).resolve()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--destdir", type=Path, default=Path("/"))
    options.add_argument("--prefix", default="/usr/local")
    options.add_argument("--python", type=Path, default=interpreter())
    options.add_argument("--remove", action="store_true")
    given = options.parse_args()
    layout = Layout(given.destdir.absolute(), given.prefix.rstrip("/"), given.python)
    if given.remove:
        remove(layout)
    else:
        stage(layout)


if __name__ == "__main__":
    main()
