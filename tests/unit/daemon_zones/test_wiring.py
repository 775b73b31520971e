"""How the parts of the daemon are put together: each gets all that it needs when it is made, and nothing later.

What is known of a zone is kept by the zone (``daemon/zones/zone.py``), so that it is forgotten with it.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dnssecd
from dnssecd.daemon import wiring
from dnssecd.daemon.zones.mailbox import Mailbox

ROOT = Path(dnssecd.__file__).parent
ALL = sorted(ROOT.rglob("*.py"))
#: The rooms that run in the daemon for as long as it does.
ROOMS = ("control", "daemon", "ingest", "ops", "pipeline/fetch", "pipeline/workers", "publish", "server")
#: What is kept there by text, octets or a path, and what that is; nothing of it is a zone's name or origin.
KEYS = {
    "control/command.py": {"_commands": "command"},
    "control/messages/keys.py": {"fields": "field"},
    "daemon/cluster/forward.py": {"_waiting": "SHA-256 of a request"},
    "daemon/cluster/comparison.py": {"_compared": "node"},
    "daemon/cluster/node.py": {"nodes": "node"},
    "daemon/key_service.py": {"_failed": "key store", "_told": "token", "_unavailable": "key store"},
    "daemon/key_usage.py": {"_received": "TSIG key and address", "_sent": "server and TSIG key"},
    "daemon/known_peers.py": {"_names": "address"},
    "daemon/parent/room.py": {"raised": "event, in the zone's room", "ways": "channel, in the zone's room"},
    "daemon/rollover/evidence.py": {
        "backups": "key, in the zone's room",
        "holders": "key, in the zone's room",
        "confirmations": "key, in the zone's room",
        "signers": "server, in the zone's room",
        "parents": "server, in the zone's room",
        "secondaries": "server, in the zone's room",
    },
    "daemon/zones/after_publication.py": {"_posting": "server of webhooks"},
    "daemon/zones/signalling.py": {"servers": "name server, of one zone"},
    "daemon/tls_reports.py": {"_failing": "server"},
    "daemon/zones/catalog_plan.py": {
        "put": "member, in one plan",
        "refused": "member, in one plan",
        "_foreign": "name that is not of the catalog, in one plan",
        "_above": "name above one of them, in one plan",
    },
    "daemon/zones/primary_state.py": {
        "rejected": "primary, in the zone's room",
        "seen": "primary, in the zone's room",
    },
    "daemon/zones/rooms.py": {
        "announced": "node, in the room of a zone of the cluster",
        "heard": "node, in the room of a zone of the cluster",
        "unheard": "node, in the room of a zone of the cluster",
        "_failures": "kind of job, in the zone's room",
        "_requested": "kind of job, in the zone's room",
        "faults": "server, in the zone's room",
        "logged": "cause, in the zone's room",
        "noted": "event, in the zone's room",
    },
    "daemon/zones/served_check.py": {"faults": "server, in the zone's room"},
    "daemon/zones/zone.py": {
        "listed": "member, kept by the catalog",
        "recovery": "key, kept by the zone",
    },
    "ingest/collect.py": {"mixed": "owner and type, within one zone file"},
    "ingest/plainwords.py": {"_name_rdata": "name in RDATA", "_numbers": "number", "ttls": "TTL"},
    "ingest/reader.py": {"_private": "file"},
    "ingest/watch.py": {"polled": "directory"},
    "ingest/zonefile.py": {"mixed": "owner and type, within one zone file"},
    "ops/alerts/channels.py": {"deferred": "recipient", "rejected": "recipient"},
    "ops/key_metrics.py": {
        "handovers": "state",
        "keys": "role, algorithm and state",
        "rollovers": "role",
        "security": "word",
    },
    "pipeline/fetch/receive.py": {"_hosts": "address"},
    "pipeline/workers/idle.py": {"_places": "database of a job that waits"},
    "pipeline/workers/worker.py": {"_signers": "socket"},
    "publish/live.py": {"_silent": "server"},
    "publish/notify.py": {"_followers": "server, kept by the zone", "_free_by_server": "server"},
    "publish/soa_look.py": {"signatures": "RRSIG"},
    "publish/watch.py": {"_seen": "server, kept by the zone", "signatures": "RRSIG"},
    "server/acl.py": {"keys": "TSIG key"},
    "server/answer_budget.py": {"_clients": "client"},
    "server/handshakes.py": {"_networks": "network"},
    "server/connections.py": {
        "_clients": "client",
        "_networks": "network",
        "_stranger_networks": "network",
        "_strangers": "network",
    },
    "server/deferred.py": {"_senders": "client"},
    "server/replays.py": {"_keys": "TSIG key", "seen": "MAC"},
    "server/slots.py": {"_counts": "client"},
    "daemon/server_reports.py": {"_answers": "opcode and RCODE"},
}
#: The zone table; the book of events, whose rows outlive the zones, and which knows them by their names only; and
#: samples of metrics, which are forgotten with their zone (``Metrics.forget_zone``).
BY_ZONE = {
    "daemon/zones/table.py": {"by_name", "by_origin"},
    "ops/events.py": {"_by_zone", "_removed"},
    "ops/many_gauge.py": {"values"},
}
#: How a connection is cut: a constructor argument without default, which changes when its socket gets another owner.
CHANGING = frozenset({"connection.abort"})
CONTAINER = re.compile(r"(default)?dict\[|OrderedDict\[|Counter\[|Mapping\[|(frozen)?set\[")
BY_TEXT = re.compile(r"\[(tuple\[)?(str|bytes|Path|Address)\b")


def kept(tree: ast.AST) -> Iterator[str]:
    """Yield the attributes that hold something by text, octets or a path, as far as their types say that."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield from _by_text(field.target.id, field.annotation)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            yield from _by_text(node.target.attr, node.annotation)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.DictComp | ast.SetComp):
            yield from (target.attr for target in node.targets if isinstance(target, ast.Attribute))


def _by_text(name: str, annotation: ast.expr) -> Iterator[str]:
    kind = ast.unparse(annotation).strip("'\"")
    if CONTAINER.match(kind) and BY_TEXT.search(kind):
        yield name


def late_callables(tree: ast.AST) -> Iterator[str]:
    """Yield what makes a slot that others fill: a callable attribute, or a function that is put into another part."""
    methods = {
        each.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for each in node.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.decorator_list
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            if ast.unparse(node.annotation).startswith("Callable"):
                yield ast.unparse(node)
        elif isinstance(node, ast.Assign) and _is_function(node.value, methods):
            yield from (ast.unparse(node) for target in node.targets if _is_anothers(target, node.value))


def _is_function(value: ast.expr, methods: set[str]) -> bool:
    """Tell whether an expression is a lambda, a ``partial``, or a method of a class in the module."""
    if isinstance(value, ast.Call):
        return ast.unparse(value.func) in ("partial", "functools.partial")
    return isinstance(value, ast.Lambda) or (
        isinstance(value, ast.Attribute) and ast.unparse(value.value) == "self" and value.attr in methods
    )


def _is_anothers(target: ast.expr, value: ast.expr) -> bool:
    """Tell whether an assignment fills a slot: of another object, or of any with a lambda."""
    return (
        isinstance(target, ast.Attribute)
        and (isinstance(value, ast.Lambda) or ast.unparse(target.value) != "self")
        and ast.unparse(target) not in CHANGING
    )


def assigned(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            yield from (target for target in node.targets if isinstance(target, ast.Attribute))
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and isinstance(node.target, ast.Attribute):
            yield node.target


@pytest.mark.parametrize("room", sorted({path.relative_to(ROOT).parts[0] for path in ALL}))
def test_no_part_has_a_slot_for_a_callback(room: str) -> None:
    paths = [path for path in ALL if path.relative_to(ROOT).parts[0] == room]
    assert [found for path in paths for found in late_callables(ast.parse(path.read_text()))] == []


def test_a_slot_is_found() -> None:
    slots = (
        "self.on_x: Callable[[], None] = lambda: None",
        "jobs.on_load = lambda zone: None",
        "warnings.listener = partial(audit, log)",
        "class A:\n def __init__(self, jobs):\n  jobs.resign = self.resign\n def resign(self): ...",
    )
    assert all(list(late_callables(ast.parse(slot))) for slot in slots)


def test_the_wiring_makes_parts_and_changes_none() -> None:
    tree = ast.parse((ROOT / "daemon" / "wiring.py").read_text())
    for target in assigned(tree):
        assert isinstance(target.value, ast.Name)
        assert target.value.id == "self", ast.unparse(target)


def test_the_wiring_constructs_and_does_nothing_else() -> None:
    """A constructor makes parts and keeps them; what they do at the start is in ``run.py``."""
    for function in ast.walk(ast.parse((ROOT / "daemon" / "wiring.py").read_text())):
        if isinstance(function, ast.FunctionDef):
            for number, statement in enumerate(function.body):
                text = ast.unparse(statement)
                docstring = number == 0 and isinstance(statement, ast.Expr)
                of_base = text.startswith("super().__init__(base")
                assert docstring or of_base or isinstance(statement, ast.Assign | ast.Return), text


def test_every_constructor_of_the_wiring_fits_on_a_screen() -> None:
    functions = [
        each
        for part in vars(wiring).values()
        if inspect.isclass(part) and part.__module__ == wiring.__name__
        for each in vars(part).values()
        if inspect.isfunction(each)
    ]
    assert max(len(inspect.getsource(each).splitlines()) for each in functions) <= 60


def test_a_signal_that_no_part_takes_is_found() -> None:
    assert set(Mailbox().unheard()) >= {"wanted", "removed", "seen"}


def test_nothing_is_kept_by_the_name_of_a_zone() -> None:
    """Whatever is kept by text in the daemon is named above, with what the text is; a zone's name is not among it."""
    found: dict[str, set[str]] = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if names := set(kept(ast.parse(path.read_text()))):
                found[str(path.relative_to(ROOT))] = names
    for path, names in BY_ZONE.items():
        found[path] = found.get(path, set()) - names
    assert {path: names for path, names in found.items() if names} == {
        path: set(names) for path, names in KEYS.items()
    }


@pytest.mark.parametrize(
    "code",
    [
        "class A:\n def __init__(self):\n  self._zones: dict[str, int] = {}",
        "class A:\n def __init__(self):\n  self._zones: defaultdict[bytes, int] = defaultdict(int)",
        "class A:\n def __init__(self):\n  self._last: dict[tuple[str, str], int] = {}",
        "class A:\n def __init__(self):\n  self._names: set[str] = set()",
        "class A:\n def __init__(self):\n  self._zones = {zone.name: zone for zone in zones}",
        "@dataclass\nclass A:\n zones: dict[str, int] = field(default_factory=dict)",
    ],
)
def test_what_is_kept_by_text_is_found(code: str) -> None:
    assert list(kept(ast.parse(code)))
