"""require_backup: no new key is used before there is evidence of a copy of it."""

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import KeyBackup
from dnssecd.core.keys.keyset import Key
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.types import Gate
from dnssecd.replacing import replace

from .bench import DAY, Bench, policy, running


def save(bench: Bench, key: Key) -> None:
    backup = KeyBackup(key.key_id, bench.now, "a file")
    bench.evidence = replace(bench.evidence, backups=(*bench.evidence.backups, backup))


def requiring() -> Bench:
    bench = running()
    bench.policy = policy(require_backup=True)
    return bench


def test_a_new_key_waits_for_its_backup() -> None:
    bench = requiring()
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.settle()
    new = bench.key(Role.ZSK)
    assert bench.state(new, Rec.DNSKEY) is State.HIDDEN
    plan = bench.step()
    (blocker,) = [blocker for blocker in plan.blockers if blocker.gate is Gate.BACKUP]
    assert (blocker.rule, blocker.tag) == ("require-backup", new.tag)
    assert "has no confirmed backup" in blocker.detail
    assert "key backup --confirm" in blocker.missing[0].wanted
    save(bench, new)
    bench.settle()
    assert bench.state(new, Rec.ZRRSIG) is State.OMNIPRESENT


def test_a_key_in_use_without_a_backup_stays_in_use() -> None:
    bench = requiring()
    before = bench.keyset
    bench.settle()
    assert [key.ref for key in bench.keyset.keys] == [key.ref for key in before.keys]
    assert not any(blocker.gate is Gate.BACKUP for blocker in bench.step().blockers)


def test_an_emergency_does_not_wait() -> None:
    bench = requiring()
    old = bench.key(Role.ZSK)
    bench.keyset = commands.compromised(bench.keyset, old.ref)
    bench.step()
    assert bench.state(bench.key(Role.ZSK), Rec.DNSKEY) is not State.HIDDEN
    bench.wait(2 * DAY)
    bench.settle()
    assert bench.keyset.find(old.ref) is None


def test_the_backup_of_another_key_does_not_count() -> None:
    bench = requiring()
    save(bench, bench.key(Role.ZSK))
    bench.keyset = commands.roll_over(bench.keyset, Role.ZSK)
    bench.settle()
    assert bench.state(bench.key(Role.ZSK), Rec.DNSKEY) is State.HIDDEN
