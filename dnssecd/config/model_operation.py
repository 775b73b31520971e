"""The part of the configuration that is about operating the daemon: alerts and backups. See ``model.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Secret:
    """Octets that must not be shown; the text form is the same for all."""

    value: bytes = field(repr=False)

    def __str__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True)
class SmimeConfig:
    """Files in PEM form. certificate, key: of the signature, both or neither. recipients: address → certificate.

    Addresses in lower case; without any, mail is not encrypted.
    """

    certificate: Path | None = None
    key: Path | None = None
    recipients: Mapping[str, Path] = field(default_factory=dict)


#: Mail is neither signed nor encrypted.
NO_SMIME = SmimeConfig()


@dataclass(frozen=True, slots=True)
class MailConfig:
    """``[alerts.mail]``."""

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    tls: Literal["none", "starttls", "tls"]
    user: str | None
    password: Secret | None
    escalate_to: tuple[str, ...]
    escalate_after: int
    heartbeat: Literal["daily", "weekly", "never"]
    smime: SmimeConfig = NO_SMIME


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """``[alerts.webhook]``."""

    url: str
    bearer: Secret | None


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """The channels for alerts; each is None if not configured.

    docs_url: where docs/operations.md is published; "": nowhere. Links to its sections start with it.
    """

    mail: MailConfig | None = None
    webhook: WebhookConfig | None = None
    command: tuple[str, ...] | None = None
    docs_url: str = ""


@dataclass(frozen=True, slots=True)
class BackupConfig:
    """``[backup]``. directory: None: backups are not watched. check_at: seconds after midnight, UTC."""

    directory: Path | None = None
    max_age: int = 2 * DAY
    check_at: int = 12_600  # 03:30


#: No backups are watched.
NO_BACKUPS = BackupConfig()


@dataclass(frozen=True, slots=True)
class AnchorsConfig:
    """``[anchors]``. directory: where trust anchors are written; None: nowhere.

    url: where a web server serves that directory; "": it is not looked at. signing: what signs the files.
    interval: between two looks at what is published, s.
    """

    directory: Path | None = None
    url: str = ""
    signing: SmimeConfig = NO_SMIME
    interval: int = 3_600


#: No trust anchors are published.
NO_ANCHORS = AnchorsConfig()
