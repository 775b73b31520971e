"""What a person is asked for, and the command with each request."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.core.keys.backup_gate import backup_blocker
from dnssecd.core.keys.keyset import new_key
from dnssecd.core.keys.keystate import Event, Rec, Role
from dnssecd.daemon.zones.outlook import next_step, person_tasks


@pytest.mark.parametrize("rec", list(Rec))
def test_a_missing_backup_never_asks_to_confirm_a_ds(rec: Rec) -> None:
    key = new_key("key1", Role.CSK, 13, bytes(64), "local", 1)
    plan = SimpleNamespace(blockers=[backup_blocker(key, "no backup", rec, Event.PUBLISH, 1)])
    keys = SimpleNamespace(plan=plan)
    zone = SimpleNamespace(name="example.", frozen=False, serial=1, keys=keys, ds=None, cluster=None)
    ((what, command, _, _),) = person_tasks(cast(Any, zone), cast(Any, None))
    assert "backup" in what
    assert command == "dnssecd key backup example. -o DIRECTORY"


def unpublished(config: Any, **more: Any) -> Any:
    """A zone without a version that is served."""
    fields = {"serial": None, "blockers": [], "doubt": None, "held": None, "owned": True, **more}
    return cast(Any, SimpleNamespace(name="example.", frozen=False, config=config, **fields))


@pytest.mark.parametrize("file", [None, "zone"])
def test_a_dynamic_zone_without_a_file_waits_for_its_content(file: str | None) -> None:
    """Updates need a version, and nothing makes the first one."""
    config = SimpleNamespace(source="dynamic", file=file)
    zone = unpublished(config)
    tasks = person_tasks(zone, cast(Any, None))
    if file:
        assert tasks == []
        assert "is being made" in next_step(zone, 0)
        return
    ((what, command, _, _),) = tasks
    assert what == "example. has no content yet"
    assert command == "dnssecd zone import example. FILE --replace"
    assert "when its content is imported" in next_step(zone, 0)


@pytest.mark.parametrize(
    "stored", [{"doubt": "its database is gone"}, {"held": "restored"}, {"owned": False}]
)
def test_no_import_is_asked_for_where_a_version_is_stored(stored: dict[str, Any]) -> None:
    """The content of the file would replace it, with all its dynamic updates."""
    zone = unpublished(SimpleNamespace(source="dynamic", file=None), **stored)
    assert person_tasks(zone, cast(Any, None)) == []
    assert "imported" not in next_step(zone, 0)
    assert ("has been verified" in next_step(zone, 0)) is ("doubt" in stored)
