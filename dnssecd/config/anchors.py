"""``[anchors]``, and ``anchors`` of ``[zone.*]``: trust anchors that are published."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from dnssecd.config.model import DAY, AnchorsConfig, ParentConfig, Policy, SmimeConfig, ZoneConfig
from dnssecd.config.reader import Section
from dnssecd.config.values import exposed

_DEFAULT = AnchorsConfig()
_KEYS = ("url", "sign_certificate", "sign_key", "interval")


def read_anchors(section: Section, *, read_files: bool) -> AnchorsConfig:
    """Return ``[anchors]``. read_files: try the files that sign, too."""
    directory = section.optional_path("directory")
    if directory is not None and not directory.is_dir():
        section.warn(
            "directory",
            f"{directory} is not a directory that this user can see",
            f"create it, writable for the daemon: install -d -o dnssecd -m 0755 {directory}",
        )
    if directory is None and any(map(section.has, _KEYS)):
        section.error("", "directory is missing", 'write directory = "/var/www/anchors"')
    anchors = AnchorsConfig(
        directory=directory,
        url=_url(section),
        signing=_signing(section, read_files=read_files),
        interval=section.duration("interval", _DEFAULT.interval, low=1, high=30 * DAY),
    )
    section.finish()
    return anchors


def _url(section: Section) -> str:
    text = section.text("url")
    if not text:
        return ""
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
        section.error("url", "is not the URL of a directory", 'write url = "https://www.example.net/anchors"')
        return ""
    return text.rstrip("/")


def _signing(section: Section, *, read_files: bool) -> SmimeConfig:
    files = SmimeConfig(section.optional_path("sign_certificate"), section.optional_path("sign_key"))
    if (files.certificate is None) != (files.key is None):
        missing = "sign_certificate" if files.certificate is None else "sign_key"
        section.error("", f"{missing} is missing", "give sign_certificate and sign_key, or neither")
        return SmimeConfig()
    if files.key is not None and read_files:
        _try_files(section, files)
    return files


def _try_files(section: Section, files: SmimeConfig) -> None:
    """Warn of files that cannot be used. Times are checked while the daemon runs."""
    from dnssecd.config.mail_certificates import Unusable, read_signer

    assert files.key is not None
    if told := exposed(files.key):
        section.warn("sign_key", told, f"chmod o-r {files.key}, and get a new key and certificate")
    try:
        read_signer(files, None)
    except Unusable as error:
        section.warn("sign_certificate", str(error), "no anchors are published until this is corrected")


def read_zone_anchors(section: Section, zone: str, policy: Policy | None, parent: ParentConfig) -> bool:
    """Return whether the zone's trust anchors are published; an error if validators should not have any."""
    wanted = section.flag("anchors", False)
    if not wanted or policy is None:
        return wanted
    if not policy.signed:
        section.error(
            "anchors", f'the policy "{policy.name}" signs nothing', "remove anchors, or choose another policy"
        )
    elif why := no_anchors(zone, policy, parent):
        section.error("anchors", why, "remove anchors, or use a policy with rfc5011 = true")
    return wanted


def no_anchors(zone: str, policy: Policy, parent: ParentConfig) -> str:
    """Return why validators should not have trust anchors of a zone; "" if they may."""
    if parent.none or zone == "." or policy.rfc5011:
        return ""
    return (
        "validators find its DS at the parent; a trust anchor would make it bogus after the next KSK rollover, "
        "which does not wait for anchors"
    )


def check_anchors(root: Section, anchors: AnchorsConfig, zones: Mapping[str, ZoneConfig]) -> None:
    """Record an error if zones publish anchors and there is no directory for them."""
    wanting = [zone.name for zone in zones.values() if zone.anchors]
    if wanting and anchors.directory is None:
        more = f" and {len(wanting) - 1} more" if len(wanting) > 1 else ""
        root.error(
            "anchors",
            f"is missing, and {wanting[0]}{more} should have anchors published",
            'add [anchors] with directory = "/var/www/anchors"',
        )
