"""The events of catalogs, of zones that were added at run time, and of the programs and files around a version."""

from __future__ import annotations

from dnssecd.ops.event_kind import EventKind

INPUT_KINDS = (
    EventKind(
        "catalog-broken",
        "error",
        "a catalog (RFC 9432) has an unknown version, a zone twice, too many members, or another error",
        "its members stay as they are: none comes, none leaves",
        "correct the catalog at its primary; it is then followed",
    ),
    EventKind(
        "catalog-conflict",
        "warning",
        "members of a catalog cannot become zones here",
        "the other members are taken over; a zone of the configuration file stays as it is",
        "remove them from the catalog, or from the configuration file; or allow what the cause names",
    ),
    EventKind(
        "catalog-removal-waiting",
        "warning",
        "a zone left its catalog, and its parent has a DS of it or cannot be queried",
        "the zone is still signed and served; validators would treat it as bogus without its signatures",
        "let the parent remove the DS, then the zone is removed; or put the zone back into the catalog",
    ),
    EventKind(
        "added-zone-unusable",
        "error",
        "a zone that was added while dnssecd ran cannot be configured after a restart",
        "its last version is served as it is stored; changes do not reach the public",
        "correct its template in the configuration, then: dnssecd config reload",
    ),
    EventKind(
        "review-waiting",
        "warning",
        "content waits for an operator before it is published",
        "the last good version is served; changes do not reach the public",
        "look at the signed zone that is named, then: dnssecd zone approve ZONE, or dnssecd zone reject ZONE",
    ),
    EventKind(
        "review-rejected",
        "error",
        "the review program, or an operator, refused a version",
        "the last good version is served until its signatures expire (see the runway)",
        "correct the input; if the program refuses what is right, correct the program",
    ),
    EventKind(
        "review-failed",
        "error",
        "the review program could not be run, did not end in time, or did not read its input",
        "nothing is published without its verdict; the last good version is served until its signatures expire",
        "correct the program or its path (it is tried again), or take review out of the configuration",
    ),
    EventKind(
        "output-file-failed",
        "error",
        "output_file cannot be written",
        "the version is published; the file has the previous one, whole",
        "make room, or correct the permissions of its directory; it is tried again",
    ),
    EventKind(
        "published-command-failed",
        "warning",
        "the command or webhook after a publication fails",
        "the version is published; what the command does was not done",
        "correct the command; it is run again until it succeeds",
    ),
)
