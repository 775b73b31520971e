"""The status page's listener: which address has which page, who may read it, and the headers of every answer."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
import structlog
from prometheus_client import Counter

from dnssecd.config.model import StatusPageConfig
from dnssecd.ops.http_host import is_host_allowed
from dnssecd.ops.http_server import Handler, HttpServer, TlsContext
from dnssecd.page import calendar_file
from dnssecd.page.access import CHALLENGE, is_token_right
from dnssecd.page.digest import Source
from dnssecd.page.model import Unavailable, ZoneView
from dnssecd.page.overview import Query, read_query
from dnssecd.page.render import DAYS, Pages, icon, load_pages
from dnssecd.page.weeks import make_weeks

HTML = "text/html; charset=utf-8"
JSON = "application/json"
#: Fields of an address that are read.
FIELDS_MAX = 20

#: Nothing but the style sheet and images of this server; no script, no frame, no other site.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
FRESH = ("Cache-Control", "no-store")
LASTING = ("Cache-Control", "private, max-age=3600")

log = structlog.get_logger("dnssecd.page")

#: A page: its status, type, body, and headers.
Answer = tuple[int, str, bytes, tuple[tuple[str, str], ...]]


class StatusPage(HttpServer):
    """Serves the pages of *source* after start(). Raises OSError when the address or certificate cannot be used.

    config: gives the settings in force; address and certificate are those at the start. requests: counts answers by
    result.
    """

    def __init__(self, config: Callable[[], StatusPageConfig], source: Source, requests: Counter) -> None:
        settings = config()
        assert settings.listen is not None
        tls = None
        if settings.certificate is not None and settings.key is not None:
            tls = Certificate(settings.certificate, settings.key).context
        parts = {
            "config": staticmethod(config),
            "source": source,
            "requests": requests,
            "pages": load_pages(),
        }
        super().__init__(settings.listen, type("PageHandler", (_PageHandler,), parts), "status page", tls=tls)


class Certificate:
    """A certificate that is read again when its file changes. Thread-safe."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raise OSError when it cannot be used."""
        self._files = (certificate, key)
        self._lock = threading.Lock()
        self._seen = self._look()
        self._context = self._load()

    @property
    def context(self) -> TlsContext:
        """Returns the TLS context for the next connection."""
        return self._current

    def _current(self) -> ssl.SSLContext:
        with self._lock:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._context = self._load()
                except OSError as error:
                    log.error(
                        "the previous certificate stays in use", file=str(self._files[0]), cause=str(error)
                    )
            return self._context

    def _look(self) -> list[tuple[int, int]]:
        try:
            return [(found.st_mtime_ns, found.st_ino) for found in (path.stat() for path in self._files)]
        except OSError:
            return []

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A key with a passphrase would make OpenSSL ask at a terminal, and every client would wait.
        context.load_cert_chain(*self._files, password=_no_password)
        return context


def _no_password() -> str:
    raise OSError("the key has a passphrase")


class _PageHandler(Handler):
    config: Callable[[], StatusPageConfig]
    source: Source
    requests: Counter
    pages: Pages

    def respond(self) -> None:
        if (
            self.request_version == "HTTP/0.9"
        ):  # its answers have no headers, so none that protects the reader
            return
        status, content_type, body, headers = self._decide()
        self.requests.labels({200: "ok", 401: "denied", 421: "denied"}.get(status, "error")).inc()
        self.answer(status, content_type, body, (*HEADERS, *headers))

    def _decide(self) -> Answer:
        settings = type(self).config()
        if not is_host_allowed(self.headers.get("Host"), settings.names):
            text = "This page is not served under that name. The key names of [status_page] has the names that are."
            return self._message(421, "Misdirected request", text)
        if settings.token is not None and not is_token_right(
            self.headers.get("Authorization"), settings.token.value
        ):
            return self._message(
                401, "Who are you?", "Give the token: as bearer token, or as password.", (CHALLENGE,)
            )
        try:
            return self._route()
        except Unavailable as error:
            return self._message(503, "Not available now", f"{error}. Try again.", (("Retry-After", "5"),))

    def _route(self) -> Answer:
        try:
            parts = urlsplit(self.path)
            fields = dict(parse_qsl(parts.query, max_num_fields=FIELDS_MAX))
        except ValueError:
            return self._message(400, "Bad address", "The address of this page cannot be read.")
        routes = {
            "/": self._overview,
            "/status.json": self._overview_json,
            "/calendar.ics": self._calendar,
            "/zone": self._zone,
            "/zone.json": self._zone_json,
            "/zone.ics": self._zone_calendar,
            "/style.css": self._style,
            "/icon.svg": self._icon,
        }
        route = routes.get(parts.path)
        if route is None:
            return self._message(404, "No such page", "There is no page at this address.")
        if route in (self._style, self._icon):
            return route(fields)
        if not self.clients.costly(self.connection):
            raise Unavailable("Too many pages are being made at the same time")
        return route(fields)

    def _overview(self, fields: dict[str, str]) -> Answer:
        query, digest = read_query(fields), self.source.digest()
        survey = digest.survey
        weeks = make_weeks(digest.days, survey.freezes, survey.taken_at, query.span)
        body = self.pages.overview(digest.page(query), weeks, query)
        return 200, HTML, body, (FRESH, *_again(query))

    def _overview_json(self, fields: dict[str, str]) -> Answer:
        page = self.source.digest().page(read_query(fields))
        return 200, JSON, msgspec.json.encode(page), (FRESH,)

    def _calendar(self, fields: dict[str, str]) -> Answer:
        digest = self.source.digest()
        survey = digest.survey
        coming = survey.coming if "all" in fields else digest.acts
        served = survey.status.verdict.zones_served
        missing = ""
        if survey.looked_ahead < served:
            missing = f"Not complete yet: {survey.looked_ahead} of {served} zones are known."
        title = f"dnssecd on {survey.host}"
        body = calendar_file.write_calendar(coming, title, survey.taken_at, missing)
        return 200, calendar_file.TYPE, body, (FRESH,)

    def _zone(self, fields: dict[str, str]) -> Answer:
        view, days = self._view(fields)
        if view is None:
            return self._no_zone()
        return 200, HTML, self.pages.zone(view, days), (FRESH, *_again(read_query(fields)))

    def _zone_json(self, fields: dict[str, str]) -> Answer:
        view, _ = self._view(fields)
        if view is None:
            body = msgspec.json.encode({"error": "this daemon has no zone of that name"})
            return 404, JSON, body, (FRESH,)
        return 200, JSON, msgspec.json.encode(view), (FRESH,)

    def _zone_calendar(self, fields: dict[str, str]) -> Answer:
        view, _ = self._view(fields)
        if view is None:
            return self._no_zone()
        name = view.zone.zone
        body = calendar_file.write_calendar(view.coming, f"{name} (dnssecd)", view.taken_at)
        return 200, calendar_file.TYPE, body, (FRESH, _attachment(name))

    def _view(self, fields: dict[str, str]) -> tuple[ZoneView | None, int]:
        offered = {str(days): days for days in DAYS}
        days = offered.get(fields.get("days", ""), DAYS[-1])
        return self.source.zone(fields.get("name", ""), days), days

    def _no_zone(self) -> Answer:
        return self._message(404, "No such zone", "This daemon has no zone of that name.")

    def _style(self, fields: dict[str, str]) -> Answer:
        return 200, "text/css; charset=utf-8", self.pages.style, (LASTING,)

    def _icon(self, fields: dict[str, str]) -> Answer:
        return 200, "image/svg+xml", icon(fields.get("level", "")), (LASTING,)

    def _message(
        self, status: int, title: str, text: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        return status, HTML, self.pages.message(title, text), (FRESH, *headers)


def _again(query: Query) -> tuple[tuple[str, str], ...]:
    return (("Refresh", str(query.refresh)),) if query.refresh else ()


def _attachment(name: str) -> tuple[str, str]:
    """Return the header that names a file after a zone; other characters than those of plain names are escaped."""
    return "Content-Disposition", f'attachment; filename="{quote(name.rstrip(".") or "root", safe="")}.ics"'
