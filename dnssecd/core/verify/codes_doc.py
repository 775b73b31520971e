"""``docs/verify.md``, written from the table of codes and ranks that the verifier uses."""

from dnssecd.core.verify.violations import CODES, RANKS, Rank

_HEAD = """# What `dnssecd verify` finds

<!-- Made from the verifier's table: python -m dnssecd.core.verify.codes_doc > docs/verify.md -->

`dnssecd verify FILE --origin ZONE` judges a signed zone of any signer. It lists every finding with its rank:

| rank | it means | exit status |
|---|---|---|
| bogus | some validator fails or a server refuses the zone, now or once the parent follows its CDS | 1 |
| violation | an RFC says MUST, but names resolve and validate | 4 if nothing is bogus |
| advice | the zone is sound | 0 |

Status 2 is a wrong argument. With `--json` the result is one object: `ok` (status 0), `rank` (the worst, or null) and
`violations`, each with `code`, `owner`, `type`, `detail` and `rank`. Codes are stable.

A finding can have a lower rank than its code where something else makes up for the fault: an RRSIG that has expired,
or is by an unknown key, is advice beside good RRSIGs of every algorithm; a CDS of a key that is not in the DNSKEY RRset
is advice beside one of a key that signs.

* A zone in the middle of a change is judged as such: NSEC beside NSEC3, or several NSEC3 chains, one for each
  NSEC3PARAM RR (RFC 5155 §10.4). Each chain that servers may use has to be complete.
* A revoked key (RFC 5011) signs for no other key, no DS leads to it and no CDS may stand for it.
* `--ds` gives the DS RRset at the parent, one DS each time. SHA-1 counts only where no better digest type is given
  (RFC 4509 §3); each other digest type and each algorithm has to lead to a key that signs. If no DS has an algorithm
  and a digest type that is known here, validators treat the zone as insecure: `ds-insecure` says so.
* CDS and CDNSKEY are judged together, and as the DS RRset that the parent would make of them (RFC 7344 §4.1).
* A key without SEP flag may sign everything. With SEP keys, and without `--ds`, one of them has to sign the DNSKEY
  RRset.

Before dnssecd publishes a version of its own, the same code judges it by what was planned: one chain, the planned keys
and parameters. There a finding of any rank stops the publication.

"""


def render() -> str:
    """Return the document."""
    rows = [
        f"| `{code}` | {rank} | {CODES[code]} |"
        for rank in Rank
        for code in sorted(CODES)
        if RANKS[code] is rank
    ]
    return _HEAD + "\n".join(["## Codes", "", "| code | rank | what |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    print(render(), end="")
