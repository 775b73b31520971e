"""`docs/transfers-in.md`, its diagram written from the table that the automaton runs on."""

from dnssecd.ingest.xfrin import TRANSITIONS, State

HEAD = """# Transfers in

<!-- Made by dnssecd/ingest/xfrin_doc.py from the table in dnssecd/ingest/xfrin.py. A test fails when it is out of
date and says how to make it anew. -->

A zone with `source = "primaries"` is what its primaries have, signed by us. The store holds their unsigned content
at the version's *input serial*; the serial that is published is ours.

## The way of a transfer

1. `daemon/zones/primaries.py` looks: at the SOA's refresh (retry after a failure), at a NOTIFY from a primary, at
   `dnssecd zone reload`, at start. Every primary is asked for its SOA. Between two looks at a zone lie 0.2 s at least,
   however many NOTIFYs come.
2. Whoever has a later serial (RFC 1982) is fetched from, the latest first. The fetcher (`pipeline/fetch/receive.py`, a
   process of its own, many transfers at a time) asks for IXFR where differences could apply, else for AXFR, proves
   every message by TSIG and keeps it in `state_dir/transfers`. IXFR that is refused, cut or not understood is
   followed by AXFR, a primary that fails by the next one. So is content: where differences do not make a good zone,
   the zone is fetched whole; where that is not good either, the next primary is asked. One round asks a primary for
   IXFR once and for AXFR once at most. When another primary's zone is taken, an event names the one passed over.
   Transfers leave from the address that dnssecd listens on, or from the primary's `source`.
3. A zone worker takes the messages apart (the table below), checks the zone as it checks a file, makes the
   difference to what is published, signs, verifies, commits. Differences are applied strictly: one that deletes what
   is not there, adds what is, does not chain or goes back makes the zone be fetched whole. They are checked with the
   zone cuts and DNAMEs above, and with the names that a vanishing one uncovers, so that errors and warnings are
   those of the whole zone.
4. Whatever goes wrong, the version before is served on: event `input-error`, `delta-guard` or `ttl-rejected` with
   the primary and the cause; `primary-unreachable` when none answers twice in a row, critical once that lasts longer
   than the SOA's expire. The zone is served on beyond it, unless `soa_expire = "follow"`: then `zone-expired`.

## Rules

* RRSIG, NSEC, NSEC3, and at the apex DNSKEY, CDS, CDNSKEY, NSEC3PARAM, ZONEMD and DS are left out, in IXFR, too. So
  differences that hold nothing else change nothing.
* Refused: another class than IN, an SOA of another owner or in the middle, data after the end, a stream that is cut,
  malformed RDATA, over 200 types at a name, an RRset whose signed form exceeds 65,535 octets, a DS RRset at a name
  that is not delegated (docs/decisions/0011-a-ds-without-delegation-is-refused.md).
* Overlooked, with a warning, as BIND, Knot and NSD do: records outside the zone; a TTL with the top bit set is 0
  (RFC 2181 §8).
* Bounds: 5 s to connect, 30 s for the next message, an hour in all, 2,000 octets a second on average once a transfer
  has run for a minute; octets by `max_transfer_mib`; as many RRs as fit in a quarter of the memory that is free. A
  transfer ends before the disk is full. 32 transfers run at the same time, at most 8 from one address.
* A transfer that ends below the serial that the primary announced is followed by the next one after a second.
* A serial that went back at all primaries is an event; `dnssecd zone reload ZONE --accept-change` fetches the zone
  whole, whatever its serial and whatever it changes.
* What was rejected is fetched again when its serial rises, after an hour, or when asked for.
* `max_change` counts as for files.

## What is legal in an answer

*New SOA* is one equal to the first of the answer, *other SOA* any other at the apex. What is not here is an error.
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
        lines.append(f"    {_id(State.FIRST)} --> [*]: nothing more (no differences to be had)")
    return "\n".join([*lines, "```", ""])


def _id(state: State) -> str:
    return state.name
