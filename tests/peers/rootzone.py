"""The real root zone of early 2018, twelve versions, and seeded edits of the kinds its editors make."""

from __future__ import annotations

import hashlib
import lzma
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

VERSIONS = range(1, 13)


def root_version(shared: Path, number: int) -> str:
    """Version 1 to 12 as a master file."""
    with lzma.open(shared / "zones" / "root-2018" / f"{number:03d}.zone.xz", "rt") as packed:
        return packed.read()


@dataclass(frozen=True)
class Record:
    owner: str
    ttl: int
    rrtype: str
    rdata: str

    def __str__(self) -> str:
        return f"{self.owner} {self.ttl} IN {self.rrtype} {self.rdata}"


def parse(text: str) -> list[Record]:
    """The RRs of one of the root versions: each on a line of its own, owner and TTL always written."""
    records = []
    for line in text.splitlines():
        if line.strip():
            owner, ttl, _, rrtype, rdata = line.split(None, 4)
            records.append(Record(owner, int(ttl), rrtype, rdata))
    return records


@dataclass(frozen=True)
class Edit:
    """One edit: what it does, the zone file after it, whether the zone is another one in DNS terms."""

    what: str
    text: str
    changes: bool


class RootEditor:
    """Makes one edit after another on a root zone; same seed, same edits."""

    def __init__(self, text: str, seed: int) -> None:
        self.records = parse(text)
        self.random = random.Random(seed)
        self._made = 0

    def edits(self, count: int) -> Iterator[Edit]:
        """``count`` edits: every kind occurs, one changes letter case only, one changes nothing."""
        kinds: list[Callable[[], str]] = [
            self._add_delegation,
            self._add_delegation_with_ds_and_glue,
            self._add_below_empty_non_terminals,
            self._remove_delegation,
            self._add_ds,
            self._remove_ds,
            self._replace_ds,
            self._change_glue,
            self._remove_glue,
            self._change_ttl,
        ]
        for number in range(count):
            if number == count // 3:
                yield Edit("nothing", self._text(), changes=False)
            elif number == count // 2:
                yield Edit(self._change_case(), self._text(), changes=False)
            else:
                kind = kinds[number] if number < len(kinds) else self.random.choice(kinds)
                yield Edit(kind(), self._text(), changes=True)

    def _text(self) -> str:
        return "".join(f"{record}\n" for record in self.records)

    def _fresh_label(self) -> str:
        self._made += 1
        return f"edit{self._made}-{self.random.randrange(1 << 16):04x}"

    def _delegations(self) -> list[str]:
        return sorted(
            {record.owner for record in self.records if record.rrtype == "NS" and record.owner != "."}
        )

    def _with_ds(self) -> list[str]:
        return sorted({record.owner for record in self.records if record.rrtype == "DS"})

    def _ds(self, owner: str) -> Record:
        digest = hashlib.sha256(self.random.randbytes(32)).hexdigest().upper()
        return Record(owner, 86400, "DS", f"{self.random.randrange(1 << 16)} 13 2 {digest}")

    def _address(self) -> str:
        return f"192.0.2.{self.random.randrange(256)}"

    def _remove(self, doomed: Callable[[Record], bool]) -> None:
        self.records = [record for record in self.records if not doomed(record)]

    def _add_delegation(self) -> str:
        owner = self._fresh_label() + "."
        self.records += [Record(owner, 172800, "NS", f"{host}.example.net.") for host in ("a", "b")]
        return f"delegation {owner}"

    def _add_delegation_with_ds_and_glue(self) -> str:
        owner = self._fresh_label() + "."
        self.records += [
            Record(owner, 172800, "NS", f"ns.{owner}"),
            Record(f"ns.{owner}", 172800, "A", self._address()),
            self._ds(owner),
        ]
        return f"secure delegation {owner} with glue"

    def _add_below_empty_non_terminals(self) -> str:
        owner = f"a.b.{self._fresh_label()}."
        self.records += [Record(owner, 172800, "NS", "ns.example.net."), self._ds(owner)]
        return f"delegation {owner} below two empty non-terminals"

    def _remove_delegation(self) -> str:
        delegations = self._delegations()
        while self._hosts_others(owner := self.random.choice(delegations)):
            pass
        self._remove(lambda record: record.owner == owner or record.owner.endswith(f".{owner}"))
        return f"delegation {owner} and all below removed"

    def _hosts_others(self, owner: str) -> bool:
        """Whether another delegation's name server is below ``owner``: removing it would take that glue along."""
        below = f".{owner}"
        return any(
            record.rrtype == "NS" and record.owner != owner and record.rdata.lower().endswith(below)
            for record in self.records
        )

    def _add_ds(self) -> str:
        owner = self.random.choice(sorted(set(self._delegations()) - set(self._with_ds())))
        self.records.append(self._ds(owner))
        return f"first DS of {owner}"

    def _remove_ds(self) -> str:
        owner = self.random.choice(self._with_ds())
        self._remove(lambda record: record.owner == owner and record.rrtype == "DS")
        return f"all DS of {owner} removed"

    def _replace_ds(self) -> str:
        owner = self.random.choice(self._with_ds())
        self._remove(lambda record: record.owner == owner and record.rrtype == "DS")
        self.records.append(self._ds(owner))
        return f"DS of {owner} replaced"

    def _glue(self) -> list[Record]:
        return [record for record in self.records if record.rrtype in {"A", "AAAA"}]

    def _change_glue(self) -> str:
        old = self.random.choice([record for record in self._glue() if record.rrtype == "A"])
        self._remove(lambda record: record == old)
        self.records.append(Record(old.owner, old.ttl, "A", f"198.51.100.{self.random.randrange(256)}"))
        return f"glue {old.owner} changed"

    def _remove_glue(self) -> str:
        with_a = {record.owner for record in self._glue() if record.rrtype == "A"}  # no delegation goes lame
        both = [each for each in self._glue() if each.rrtype == "AAAA" and each.owner in with_a]
        old = self.random.choice(both)
        self._remove(lambda record: record.owner == old.owner and record.rrtype == "AAAA")
        return f"glue {old.owner} AAAA removed"

    def _change_ttl(self) -> str:
        rrtype = self.random.choice(["NS", "DS"])
        owner = self.random.choice(self._delegations() if rrtype == "NS" else self._with_ds())
        ttl = self.random.randrange(3600, 100_000)
        self.records = [
            Record(record.owner, ttl, rrtype, record.rdata)
            if (record.owner, record.rrtype) == (owner, rrtype)
            else record
            for record in self.records
        ]
        return f"TTL of {owner} {rrtype} now {ttl}"

    def _change_case(self) -> str:
        owner = self.random.choice(self._delegations())
        self.records = [
            Record(owner.upper(), record.ttl, record.rrtype, record.rdata.upper())
            if (record.owner, record.rrtype) == (owner, "NS")
            else record
            for record in self.records
        ]
        return f"{owner} NS in capitals"
