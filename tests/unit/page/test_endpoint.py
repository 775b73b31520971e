"""The listener: who gets what, under which headers, and what a hostile client can do."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from dnssecd.config import Address
from dnssecd.config.model import Secret, StatusPageConfig
from dnssecd.ops import http_server
from dnssecd.page.endpoint import Certificate, StatusPage

from .samples import HOSTILE, Samples, survey, view, zone

TOKEN = "0123456789abcdef0123456789abcdef"
ODD = "0/25.2.0.192.in-addr.arpa."


class Site:
    """A page that runs, and its settings, which may be changed."""

    def __init__(self) -> None:
        self.settings = StatusPageConfig(listen=Address("127.0.0.1", 0))
        self.source = Samples(
            survey([zone("a.test."), zone(ODD)]),
            {"a.test.": view("a.test."), ODD: view(ODD), ".": view("."), HOSTILE: view(HOSTILE, HOSTILE)},
        )
        self.counter = Counter("requests", "x", ("result",), registry=CollectorRegistry())
        self.page = StatusPage(lambda: self.settings, self.source, self.counter)
        self.begin()

    def begin(self) -> None:
        self.settings = StatusPageConfig(listen=Address("127.0.0.1", 0), names=("status.example.net",))
        self.source.why = ""
        self.before = {result: self.count(result) for result in ("ok", "denied", "error")}

    @property
    def port(self) -> int:
        return self.page.address.port

    def count(self, result: str) -> float:
        return float(self.counter.labels(result)._value.get())

    def counted(self, result: str) -> float:
        return self.count(result) - self.before[result]

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, dict(response.getheaders()), body


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    site = Site()
    site.page.start()
    yield site
    site.page.stop()


@pytest.fixture
def site(running: Site) -> Site:
    """The page as it was at the start."""
    running.begin()
    return running


def test_every_page_has_its_json_and_its_calendar(site: Site) -> None:
    status, headers, body = site.get("/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "a.test." in body
    status, headers, body = site.get("/status.json?q=a.test")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert [each["zone"] for each in json.loads(body)["zones"]] == ["a.test."]
    assert json.loads(body)["verdict"]["level"] == "warning"
    for name in ("a.test.", ODD, ".", HOSTILE):
        status, _, body = site.get(f"/zone?name={quote(name, safe='')}&days=30")
        assert (status, body[:15]) == (200, "<!doctype html>"), name
        document = json.loads(site.get(f"/zone.json?name={quote(name, safe='')}")[2])
        assert document["zone"]["zone"] == name
    assert site.get("/calendar.ics")[2].startswith("BEGIN:VCALENDAR\r\n")
    status, headers, body = site.get(f"/zone.ics?name={quote(HOSTILE, safe='')}")
    assert (status, headers["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    assert "Set-Cookie" not in headers
    assert site.get("/style.css?x")[1]["Content-Type"] == "text/css; charset=utf-8"
    assert site.get("/icon.svg?level=ok")[1]["Content-Type"] == "image/svg+xml"
    assert site.get("/", "HEAD")[2] == ""


@pytest.mark.parametrize(
    "path", ["/nothing", "/zone?name=b.test.", "/zone", "/zone.json?name=x", "/../etc/passwd"]
)
def test_what_is_not_there_is_404(site: Site, path: str) -> None:
    assert site.get(path)[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/", "/status.json", "/zone?name=a.test.", "/style.css", "/icon.svg", "/nothing", "/calendar.ics"],
)
def test_every_answer_forbids_scripts_frames_and_guessing(site: Site, path: str) -> None:
    headers = site.get(path)[1]
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Cache-Control" in headers
    assert headers["Server"].strip() == "dnssecd"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_nothing_but_reading(site: Site, method: str) -> None:
    assert site.get("/", method)[0] == 501


def test_another_hosts_name_is_refused(site: Site) -> None:
    assert site.get("/", Host="evil.example")[0] == 421
    assert site.get("/status.json", Host="evil.example:80")[0] == 421
    assert site.get("/", Host="status.example.net")[0] == 200
    assert site.counted("denied") == 2


def test_without_the_token_nothing_is_shown(site: Site) -> None:
    site.settings = StatusPageConfig(listen=site.settings.listen, token=Secret(TOKEN.encode()))
    for path in ("/", "/status.json", "/zone?name=a.test.", "/calendar.ics", "/style.css", "/nothing"):
        status, headers, body = site.get(path)
        assert (status, "a.test" in body) == (401, False)
        assert headers["WWW-Authenticate"].startswith("Basic ")
    with capture_logs() as logs:
        assert site.get("/", Authorization="Bearer wrong")[0] == 401
        assert site.get("/", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert TOKEN not in str(logs)
    password = b64encode(f"anyone:{TOKEN}".encode()).decode()
    assert site.get("/", Authorization=f"Basic {password}")[0] == 200
    assert site.get(f"/?token={TOKEN}")[0] == 401  # an address is stored and logged: no token there
    assert site.counted("denied") == 8


def test_a_new_token_is_valid_at_once(site: Site) -> None:
    site.settings = StatusPageConfig(listen=site.settings.listen, token=Secret(TOKEN.encode()))
    assert site.get("/", Authorization=f"Bearer {TOKEN}")[0] == 200
    site.settings = StatusPageConfig(listen=site.settings.listen, token=Secret(TOKEN[::-1].encode()))
    assert site.get("/", Authorization=f"Bearer {TOKEN}")[0] == 401


def test_data_that_does_not_come_in_time_is_503(site: Site) -> None:
    site.source.why = "dnssecd did not answer within 8 s"
    status, headers, body = site.get("/")
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "did not answer" in body


def test_a_page_that_loads_itself_again_asks_for_it_in_a_header(site: Site) -> None:
    assert "Refresh" not in site.get("/")[1]
    assert site.get("/?refresh=60")[1]["Refresh"] == "60"
    assert site.get("/?refresh=1")[1]["Refresh"] == "10"


def raw(site: Site, octets: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        with suppress(OSError):
            connection.sendall(octets)
        answer = b""
        with suppress(ConnectionError):
            while chunk := connection.recv(65_536):
                answer += chunk
        return answer


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * http_server.HEAD_MAX + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 90 + b"Y: " + b"z" * http_server.HEAD_MAX,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["a header", "headers", "the address"],
)
def test_a_request_is_read_up_to_a_limit(site: Site, octets: bytes) -> None:
    answer = raw(site, octets)
    assert b"200 OK" not in answer
    assert not answer or answer.startswith((b"HTTP/1.0 431", b"HTTP/1.0 414", b"a request may have"))
    assert b"a.test." not in answer
    assert site.get("/")[0] == 200


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\x00" * 200 + b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET /zone?name=%ff%fe%00 HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        b"GET /?" + b"a=b&" * 500 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: \xff\xfe\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_what_is_no_request_harms_nothing(site: Site, octets: bytes) -> None:
    with capture_logs() as logs:
        raw(site, octets)
        assert site.get("/")[0] == 200
    assert [line for line in logs if line["log_level"] == "error"] == []


def test_what_a_stranger_sends_makes_no_line_of_the_log(site: Site) -> None:
    with capture_logs() as logs:
        raw(site, b'GET /\x1b[31m\x0b{"event":"x"} HTTP/1.1\r\nHost: localhost\r\n\r\n')
    assert logs
    assert all(line["log_level"] == "debug" for line in logs)
    text = "".join(str(value) for line in logs for value in line.values())
    assert all(32 <= ord(char) < 127 for char in text)


def test_slow_clients_lose_their_places(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow loris: they send an octet now and then, as many as there are places; the page is served all the same."""
    monkeypatch.setattr(http_server, "REQUEST_S", 0.5)
    held = [
        socket.create_connection(("127.0.0.1", site.port), timeout=10)
        for _ in range(http_server.READING_MAX + 8)
    ]
    for connection in held:
        connection.sendall(b"GET / HTTP/1.1\r\nX")
    started = time.monotonic()
    assert site.get("/")[0] == 200
    assert time.monotonic() - started < 5
    for connection in held:
        while True:
            try:
                connection.sendall(b"x")
                if connection.recv(1) == b"":
                    break
            except OSError:
                break
        connection.close()
    assert time.monotonic() - started < 9


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    crt, key = directory / "page.crt", directory / "page.key"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "2", "-nodes"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", *kind, *subject, "-keyout", str(key), "-out", str(crt)]
    subprocess.run(command, check=True, capture_output=True)
    return crt, key


def served_name(port: int, trusted: Path, name: str) -> int:
    """The answer's status over TLS; fails where the certificate is not that of *name*."""
    context = ssl.create_default_context(cafile=str(trusted))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = connection.recv(65_536)
        return int(answer.split()[1])


def test_tls_and_a_renewed_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_S", 1.0)
    crt, key = certificate(tmp_path, "one.example")
    settings = StatusPageConfig(listen=Address("127.0.0.1", 0), certificate=crt, key=key)
    counter = Counter("requests", "x", ("result",), registry=CollectorRegistry())
    page = StatusPage(lambda: settings, Samples(survey([zone()])), counter)
    page.start()
    try:
        port = page.address.port
        assert served_name(port, crt, "one.example") == 200
        # A client that never begins, one that speaks without TLS, and one that stops in the handshake.
        idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
        idle[1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        idle[2].sendall(b"\x16\x03\x01\x02\x00\x01")
        assert served_name(port, crt, "one.example") == 200
        for connection in idle:
            with suppress(OSError):
                while connection.recv(4096):
                    pass
            connection.close()
        before = crt.read_text()
        crt.write_text("no certificate")
        (tmp_path / "before.crt").write_text(before)
        assert served_name(port, tmp_path / "before.crt", "one.example") == 200
        certificate(tmp_path, "two.example")
        assert served_name(port, crt, "two.example") == 200
    finally:
        page.stop()


def test_a_key_with_a_passphrase_asks_no_terminal(tmp_path: Path) -> None:
    """Every client would wait for the answer. With the log, an operator knows what to do."""
    crt, key = certificate(tmp_path, "one.example")
    held = Certificate(crt, key)
    context = held.context()
    command = ["openssl", "ec", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    with capture_logs() as logs:
        assert held.context() is context
    assert [one["cause"] for one in logs] == ["the key has a passphrase"]
