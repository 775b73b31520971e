"""`docs/transfers-in.md`, its diagram written from the table that the automaton runs on."""

from dnssecd.ingest.xfrin import TRANSITIONS, State

HEAD = """# Transfers in

<!-- Made by dnssecd/ingest/xfrin_doc.py from the table in dnssecd/ingest/xfrin.py. A test fails when it is out of
date and says how to write it again. -->

A zone with `source = "primaries"` has the content of its primaries, signed by dnssecd. The store keeps their unsigned
content at the version's *input serial*; dnssecd chooses the serial that is published.

## The path of a transfer

1. `daemon/zones/primaries.py` polls every primary for its SOA: at the SOA's refresh (retry after a failure), at a
   NOTIFY from a primary, at `dnssecd zone reload`, and at start. Two polls of a zone are at least 0.2 s apart, with
   any number of NOTIFYs.
2. dnssecd fetches from the primaries that have a later serial (RFC 1982), the latest first. The fetcher
   (`pipeline/fetch/receive.py`, a separate process with many transfers at a time) asks for IXFR if differences could
   apply, otherwise for AXFR. It verifies every message by TSIG and keeps it in `state_dir/transfers`. If IXFR is
   refused, cut or not understood, AXFR follows; if a primary fails, the next one follows. The same holds for content:
   if differences do not lead to a good zone, the whole zone is fetched; if that is not good either, the next primary
   is asked. One round asks a primary at most once for IXFR and once for AXFR. If the zone of another primary is
   taken, an event names the primary that was skipped. dnssecd transfers from the address that it listens on, or
   from the primary's `source`.
3. A zone worker decodes the messages (the table below), checks the zone as it checks a file, computes the difference
   to the published version, signs, verifies, and commits. Differences are applied strictly: if one deletes records
   that are not there, adds records that are, does not chain or goes back, the whole zone is fetched. They are checked
   together with the zone cuts and DNAMEs above, and with the names that a removed cut uncovers, so that errors and
   warnings are those of the whole zone.
4. If anything fails, the previous version is still served. The event is `input-error`, `delta-guard` or
   `ttl-rejected`, with the primary and the cause, or `primary-unreachable` if no primary answers twice in a row; it
   becomes critical when that lasts longer than the SOA's expire. Then the zone is still served, unless `soa_expire =
   "follow"`: then `zone-expired`.

## Rules

* RRSIG, NSEC, NSEC3, and at the apex DNSKEY, CDS, CDNSKEY, NSEC3PARAM, ZONEMD and DS are ignored, in IXFR, too. So
  differences that contain nothing else change nothing.
* Refused: another class than IN, an SOA of another owner or in the middle, data after the end, a stream that is cut,
  malformed RDATA, over 200 types at a name, an RRset whose signed form exceeds 65,535 octets, a DS RRset at a name
  that is not delegated (docs/decisions/0011-a-ds-without-delegation-is-refused.md).
* Ignored with a warning, as BIND, Knot and NSD do: records outside the zone; a TTL with the top bit set is 0
  (RFC 2181 §8).
* Bounds: 5 s to connect, 30 s for the next message, an hour in all, 2,000 octets a second on average once a transfer
  has run for a minute; octets by `max_transfer_mib`; as many RRs as fit in a quarter of the memory that is free. A
  transfer ends before the disk is full. 32 transfers run at the same time, at most 8 from one address.
* If a transfer ends below the serial that the primary announced, the next one follows after a second.
* If the serial decreased at all primaries, an event is raised; `dnssecd zone reload ZONE --accept-change` fetches the
  zone whole, with any serial and any change.
* A rejected zone is fetched again when its serial increases, after an hour, or at `dnssecd zone reload`.
* `max_change` counts as for files.

## What is legal in an answer

*New SOA* is an SOA equal to the first of the answer, *other SOA* any other SOA at the apex. Any event not shown is an
error.
"""


def render() -> str:
    """Return the whole document."""
    return "\n".join([HEAD, *(_diagram(kind) for kind in TRANSITIONS)])


def _diagram(kind: str) -> str:
    lines = [f"### {kind.upper()}", "", "```mermaid", "stateDiagram-v2", f"    [*] --> {_id(State.START)}"]
    for state, moves in TRANSITIONS[kind].items():
        lines.append(f"    {_id(state)}: {state.value}")
        lines += [f"    {_id(state)} --> {_id(after)}: {event.value}" for event, after in moves.items()]
    lines.append(f"    {_id(State.END)} --> [*]")
    if kind == "ixfr":
        lines.append(f"    {_id(State.FIRST)} --> [*]: nothing more (the primary offers no differences)")
    return "\n".join([*lines, "```", ""])


def _id(state: State) -> str:
    return state.name
