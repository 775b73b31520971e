"""Logs: forms, levels, and the guard that keeps secrets out."""

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from dnssecd.config import Secret
from dnssecd.ops.log import setup

PEM = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFHDBOBgkq\n-----END ENCRYPTED PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def test_json_lines(out: io.StringIO) -> None:
    setup("json", "info", out)
    log = structlog.get_logger()
    log.debug("not shown")
    log.info("zone published", zone="example.com.", serial=7)
    record = json.loads(out.getvalue())
    assert record["event"] == "zone published"
    assert (record["level"], record["zone"], record["serial"]) == ("info", "example.com.", 7)
    assert record["timestamp"].endswith("Z")


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_line_is_written_in_one_piece(format: str) -> None:
    """The key service writes to the same stream: no line of it may come into the middle of one."""

    written: list[str] = []

    class Pieces(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    setup(format, "info", Pieces())
    structlog.get_logger().info("zone published", zone="example.com.")
    (line,) = written
    assert "zone published" in line
    assert line.count("\n") == 1
    assert line.endswith("\n")


def test_console_lines(out: io.StringIO) -> None:
    setup("console", "debug", out)
    structlog.get_logger().debug("zone published", zone="example.com.")
    assert "zone published" in out.getvalue()
    assert "zone=example.com." in out.getvalue()


@pytest.mark.parametrize("format", ["json", "console"])
def test_secrets_do_not_come_through(out: io.StringIO, format: str) -> None:
    setup(format, "info", out)
    structlog.get_logger().info(
        "x",
        passphrase="s3cr3t-a",
        tsig_secret="s3cr3t-b",
        pin="s3cr3t-c",
        key=Secret(b"s3cr3t-d"),
        nested={"smtp": [{"password": "s3cr3t-e"}, Secret(b"s3cr3t-f")]},
        raw=b"s3cr3t-g",
        text=f"found {PEM} there",
        bind="PrivateKey: s3cr3th==\nAlgorithm: 13",
        error=ValueError(PEM),
    )
    text = out.getvalue()
    assert "s3cr3t" not in text
    assert "MIIF" not in text
    assert text.count("[redacted]") >= 7
    assert "Algorithm: 13" in text


def test_what_is_no_secret_stays(out: io.StringIO) -> None:
    setup("json", "info", out)
    structlog.get_logger().info("x", pin_file="/run/pin", key_tag=4711, token="dns", pinned=True, spin=3)
    record = json.loads(out.getvalue())
    assert (record["pin_file"], record["key_tag"], record["token"]) == ("/run/pin", 4711, "dns")
    assert (record["pinned"], record["spin"]) == (True, 3)


def test_secrets_in_exceptions(out: io.StringIO) -> None:
    setup("json", "info", out)
    try:
        raise ValueError(PEM)
    except ValueError:
        structlog.get_logger().exception("it failed")
    assert "MIIF" not in out.getvalue()
    assert "ValueError" in out.getvalue()


def test_long_and_deep_values_are_bounded(out: io.StringIO) -> None:
    setup("json", "info", out)
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    structlog.get_logger().info("x", long="a" * 100_000, deep=deep)
    assert len(out.getvalue()) < 10_000


def test_libraries_log_in_the_same_form(out: io.StringIO) -> None:
    setup("json", "info", out)
    logging.getLogger("apscheduler").warning("job %s missed", "x")
    logging.getLogger("apscheduler").info("not shown")
    record = json.loads(out.getvalue())
    assert (record["event"], record["logger"]) == ("job x missed", "apscheduler")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "is_json"), [(io.StringIO(), True), (_Terminal(), False)])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(stream: io.StringIO, is_json: bool) -> None:
    setup("auto", "info", stream)
    structlog.get_logger().info("ready", zones=1)
    assert stream.getvalue().startswith("{") == is_json
    assert "ready" in stream.getvalue()


def test_level_and_event_come_first(out: io.StringIO) -> None:
    setup("json", "info", out)
    structlog.get_logger().warning("zone rejected", zone="example.com.")
    assert list(json.loads(out.getvalue()))[:2] == ["level", "event"]


def test_the_journal_gets_a_priority_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stderr").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        for form in ("json", "console"):
            setup(form, "debug", stream)
            log = structlog.get_logger()
            for level in ("debug", "info", "warning", "error"):
                getattr(log, level)("said")
        logging.getLogger("asyncio").error("by a library")
        stream.seek(0)
        lines = stream.read().splitlines()
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>"] * 2 + ["<3>"]


def test_another_stream_than_the_journal_gets_none(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    setup("json", "info", out)
    structlog.get_logger().info("said")
    assert out.getvalue().startswith("{")
