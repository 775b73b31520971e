"""The events of trust anchors that are published."""

from __future__ import annotations

from dnssecd.ops.event_kind import EventKind

ANCHOR_KINDS = (
    EventKind(
        "anchors-unpublished",
        "error",
        "the files with the zone's trust anchors cannot be written or signed",
        "the files stay as they were: after a KSK rollover, validators that are configured from them fail",
        "correct the directory, or the certificate and key of [anchors]; it is tried again",
    ),
    EventKind(
        "anchors-outdated",
        "warning",
        "the web server gives out other files of the zone's trust anchors than dnssecd wrote, or none",
        "validators may be configured with anchors that end, or cannot be configured",
        "bring the directory of [anchors] to the web server and empty its caches, then: dnssecd anchors check ZONE",
    ),
    EventKind(
        "anchors-certificate-expiring",
        "warning",
        "the certificate that signs trust anchors expires within 30 days, or has expired",
        "with an expired certificate no anchors are written any more",
        "renew sign_certificate (and sign_key) of [anchors]; the files are then signed again",
    ),
)
