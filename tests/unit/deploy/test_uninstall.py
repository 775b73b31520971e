"""`make uninstall` removes all that `make install` puts below the prefix, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "deploy/packaging"))
import stage  # noqa: E402


def test_what_is_installed_is_removed(tmp_path: Path) -> None:
    """Without the packages, which take time: they are one directory."""
    layout = stage.Layout(tmp_path, "/usr/local", Path("/usr/bin/python3"))
    layout.site.mkdir(parents=True)
    (layout.site.parent / "x").touch()
    for place in (layout.absolute(f"{layout.home}/bin/dnssecd"), layout.at("share/doc/dnssecd/README.md")):
        place.touch()
    layout.at("bin/dnssecd").symlink_to("../lib/dnssecd/bin/dnssecd")
    stage.units(layout)
    stage.completions(layout)
    stage.manpages.write(layout.at("share/man/x").parent)
    others = [
        layout.at("bin/other"),
        layout.at("share/man/man8/other.8"),
        layout.absolute("/etc/dnssecd/config.toml"),
    ]
    for other in others:
        other.touch()
    stage.remove(layout)
    left = [path for path in tmp_path.rglob("*") if path.is_symlink() or not path.is_dir()]
    assert sorted(left) == sorted(others)
