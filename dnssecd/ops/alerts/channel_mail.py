"""The mail channel: SMTP with STARTTLS or TLS (certificates verified) and authentication, by aiosmtplib."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import aiosmtplib

from dnssecd.config.model import MailConfig
from dnssecd.ops.alerts.channels import ChannelDown, ChannelName, Deferred, Parcel, Rejected, Sent, reason

DEADLINE_S = 60.0
_QUIT_S = 2.0


class MailChannel:
    """Mail through one server. host: this host's name for EHLO. context: trust for TLS; default: the system's."""

    def __init__(
        self,
        config: MailConfig,
        host: str,
        *,
        context: ssl.SSLContext | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._config = config
        self._host = host if host.isascii() and host.strip() and " " not in host else "localhost"
        self._context = context
        self._deadline_s = deadline_s

    @property
    def name(self) -> ChannelName:
        """The kind of the channel."""
        return "mail"

    @property
    def target(self) -> str:
        """Host and port of the mail server."""
        return f"{self._config.host} port {self._config.port}"

    async def send(self, parcel: Parcel) -> Sent:
        """Send *parcel* to the server. When this returns, the server has accepted responsibility (RFC 5321 §6.1)."""
        client = self._client()
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._connect(client)
                refused, _ = await client.sendmail(self._config.sender, list(parcel.recipients), parcel.body)
                answers = {address: (one.code, one.message) for address, one in refused.items()}
        except TimeoutError as error:
            raise ChannelDown(f"{self.target} did not answer within {self._deadline_s:.0f} s") from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            answers = {one.recipient: (one.code, one.message) for one in error.recipients}
        except aiosmtplib.SMTPAuthenticationError as error:
            raise ChannelDown(f"{self.target} refused the password: {_answer(error)}") from error
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(error, self.target) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise ChannelDown(f"{self.target}: {reason(error)}") from error
        finally:
            await _leave(client)
        return _sent(answers)

    def _client(self) -> aiosmtplib.SMTP:
        config = self._config
        return aiosmtplib.SMTP(
            hostname=config.host,
            port=config.port,
            username=config.user,
            password=config.password.value if config.user and config.password else None,
            local_hostname=self._host,
            timeout=self._deadline_s,
            use_tls=config.tls == "tls",
            start_tls=config.tls == "starttls",
            tls_context=self._trust(),
        )

    def _trust(self) -> ssl.SSLContext | None:
        if self._config.tls == "none":
            return None
        return self._context if self._context is not None else ssl.create_default_context()

    async def _connect(self, client: aiosmtplib.SMTP) -> None:
        try:
            await client.connect()
        except ssl.SSLCertVerificationError as error:
            raise ChannelDown(
                f"{self.target}: its certificate is not trusted: {error.verify_message}"
            ) from error


async def _leave(client: aiosmtplib.SMTP) -> None:
    """End the session; a failure now does not change that the server has accepted the message."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_QUIT_S):
            await client.quit()
    client.close()


def _answer(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {' '.join(error.message.split())}"


def _refused(error: aiosmtplib.SMTPResponseException, target: str) -> Exception:
    text = f"{target} answered {_answer(error)}"
    if isinstance(error, aiosmtplib.SMTPConnectError | aiosmtplib.SMTPHeloError) or error.code == 421:
        return ChannelDown(text)
    return Rejected(text) if 500 <= error.code < 600 else Deferred(text)


def _sent(refused: dict[str, tuple[int, str]]) -> Sent:
    deferred: dict[str, str] = {}
    rejected: dict[str, str] = {}
    for address, (code, text) in refused.items():
        (rejected if 500 <= code < 600 else deferred)[address] = f"{code} {' '.join(text.split())}"
    return Sent(deferred, rejected)
