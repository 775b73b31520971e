"""Zones from included files (``include = "zones.d/*.toml"``): each file comes, changes and goes without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.smallzone import small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

MAIN, ONE, TWO = "main.test.", "one.test.", "two.test."


class Including(Dnssecd):
    """A daemon whose configuration includes what is in ``zones.d``, beside its file."""

    @property
    def included(self) -> Path:
        directory = self.directory / "zones.d"
        directory.mkdir(exist_ok=True)
        return directory

    def write_config(self) -> None:
        super().write_config()
        text = self.config_path.read_text()
        self.config_path.write_text(f'include = "{self.included.name}/*.toml"\n{text}')

    def put(self, zone: str, *lines: str, file: str = "") -> Path:
        """Write the file of a zone, with these lines; its zone file lies beside it, under its relative name."""
        (self.included / f"{zone}zone").write_text(small_zone().replace("small.test.", zone))
        path = self.included / f"{file or zone}toml"
        head = [f'[zone."{zone}"]', 'policy = "default"', 'source = "file"', f'file = "{zone}zone"']
        path.write_text("\n".join([*head, 'parent = "none"', *lines, ""]))
        return path


@pytest.fixture
def daemon(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> Including:
    path = peer_dir / "main.zone"
    path.write_text(small_zone().replace("small.test.", MAIN))
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {MAIN: path})
    made = Including(peer_dir / "dnssecd", config, tsig_key)
    made.put(ONE)
    servers.start(made)
    for zone in (MAIN, ONE):
        made.wait_serial_other_than(zone, None)
    return made


def test_files_come_change_and_go(daemon: Including) -> None:
    assert "2 zones" in daemon.cli("check-config").out
    assert daemon.cli("config", "diff").out == "nothing differs\n"

    # Two files come.
    daemon.put(TWO)
    difference = daemon.cli("config", "diff")
    assert TWO in difference.out
    assert ONE not in difference.out
    assert daemon.serial(TWO) is None, "a difference that is shown is not applied"
    assert daemon.cli_json("config", "reload")["added"] == [TWO]
    assert daemon.wait_serial_other_than(TWO, None) == 1

    # One changes: the policy of the main file is found from there, and the change is that zone's.
    daemon.config["policy"]["nsec"] = {"keystore": "local", "denial": "nsec"}
    path = daemon.put(TWO)
    path.write_text(path.read_text().replace('"default"', '"nsec"'))
    daemon.write_config()
    assert daemon.cli_json("config", "reload")["zones_changed"] == [TWO]
    wait_until(lambda: daemon.cli_json("zone", "show", TWO)["policy"] == "nsec", "it has its policy", 30)
    daemon.wait_serial_other_than(TWO, 1)

    # One goes: not without a word, as any zone that the configuration no longer has.
    path.unlink()
    refused = daemon.cli("config", "reload")
    assert refused.status == 1
    assert f"--remove {TWO}" in refused.text
    assert daemon.serial(TWO) is not None
    assert daemon.cli("config", "reload", "--remove", TWO).ok
    assert daemon.serial(TWO) is None

    # A restart finds the same.
    daemon.stop()
    daemon.start()
    for zone in (MAIN, ONE):
        assert daemon.serial(zone) is not None
    assert daemon.serial(TWO) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'[zone."{TWO}"\n', "is not TOML"),
        (f'[zone."{TWO}"]\npolicy = "none"\nsource = "file"\nfile = "z"\n', '"none"'),
        ("[policy.default]\nkeystore = 'local'\n", "cannot be in an included file"),
        (f'[zone."{ONE}"]\npolicy = "default"\nsource = "file"\nfile = "z"\n', "remove one of the two"),
        ("\xff", "is not UTF-8"),
    ],
    ids=["not TOML", "unknown policy", "not for included files", "in two files", "not UTF-8"],
)
def test_a_broken_file_is_named_with_its_line_and_changes_nothing(
    daemon: Including, text: str, said: str
) -> None:
    daemon.put("good.test.")
    broken = daemon.included / "two.toml"
    broken.write_bytes(text.encode("latin-1"))
    for words in (("check-config",), ("config", "diff"), ("config", "reload")):
        told = daemon.cli(*words)
        assert told.status == 1, told
        assert said in told.text, told
        assert f"{broken}:" in told.text.replace("\n", ""), "the file with the fault is named, with the line"
    wait_event(daemon, "config-rejected", "")
    assert daemon.serial("good.test.") is None, "applied as a whole or not at all"
    for zone in (MAIN, ONE):
        assert daemon.serial(zone) is not None
    # A daemon that is started meanwhile says so, and the one that runs goes on when it is mended.
    broken.unlink()
    assert daemon.cli("config", "reload").ok
    wait_event(daemon, "config-rejected", "", firing=False)
    daemon.wait_serial_other_than("good.test.", None)
