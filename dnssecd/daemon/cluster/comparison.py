"""The settings of all nodes, compared: a difference is an alert that names it, and stops take-overs of its zones."""

from collections.abc import Callable, Mapping

from dnssecd.cluster import membership, settings
from dnssecd.cluster.membership import NodeState
from dnssecd.config.model import Config
from dnssecd.daemon.cluster.link import ClusterLink
from dnssecd.ops.events import EventCore

DIFFERS = "cluster-config-differs"


class Comparison:
    """What was compared: for each other node the digest of its settings, and the sections that differ."""

    def __init__(self, link: ClusterLink, config: Callable[[], Config], events: EventCore) -> None:
        self._link, self._config, self._events = link, config, events
        self._compared: dict[str, tuple[bytes, frozenset[str]]] = {}

    def forget(self) -> None:
        """Compare all again: the settings of this node have changed."""
        self._compared.clear()

    async def compare(self, nodes: Mapping[str, NodeState]) -> None:
        """Compare with the nodes whose settings have changed. Raise ClusterError."""
        changed = [
            state for name, state in nodes.items() if name != self._link.config.node and self._new(state)
        ]
        ours = settings.settings_of(self._config()) if changed else {}
        for state in changed:
            octets = await self._link.run(membership.settings_of, self._link.database, state.name)
            try:
                found = list(settings.differences(ours, settings.decode(octets or b""), state.name))
            except ValueError as error:  # no zone is taken over while it is not known what that node would do
                found = [(section, f"{error}; restart node {state.name}") for section in ours]
            self._compared[state.name] = (state.config_digest, frozenset(section for section, _ in found))
            if found:
                text = settings.brief(list(dict.fromkeys(what for _, what in found)))
                self._events.raise_event(DIFFERS, None, text, subject=state.name)
            else:
                self._events.resolve(DIFFERS, None, state.name)

    def _new(self, state: NodeState) -> bool:
        return self._compared.get(state.name, (b"",))[0] != state.config_digest

    def difference(self, name: str) -> str:
        """Return in which sections another node differs, "" for none."""
        _, sections = self._compared.get(name, (b"", frozenset()))
        return (
            f"other settings in {', '.join(f'[{each}]' for each in sorted(sections)[:5])}" if sections else ""
        )

    def why_not(self, zone: str, nodes: Mapping[str, NodeState]) -> str:
        """Return which running node has other settings of a zone, "" for none."""
        sections = settings.sections_of_zone(self._config(), zone)
        for name, (_, differing) in self._compared.items():
            state = nodes.get(name)
            if state is not None and state.alive_s > 0 and differing & sections:
                return f"node {name} has other settings in [{sorted(differing & sections)[0]}]"
        return ""
