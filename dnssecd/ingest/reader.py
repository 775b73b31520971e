"""Read one zone file and its included files, record by record, into rows (RFC 1035 §5, RFC 2308 §4, $GENERATE).

As in BIND, the TTLs of an included file stay in force in the including file; each file has its own origin and
last owner.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from dnssecd.core.dns.names import BadName, key_to_wire, owner_key, wire_to_text
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, DNSKEY, DS, SIGNATURE_TYPES, SOA
from dnssecd.ingest import words
from dnssecd.ingest.collect import Row
from dnssecd.ingest.errors import FileChanged, RecordError, ZoneFileError, ZoneFileErrors, one_line
from dnssecd.ingest.fastlane import FastLane
from dnssecd.ingest.generate import Generate
from dnssecd.ingest.lexer import Record, read_record, unescape, unquote
from dnssecd.ingest.limits import Limits
from dnssecd.ingest.slowlane import rdata_wire
from dnssecd.ingest.source import Digest, FileIdentity, Source
from dnssecd.ingest.words import shown
from dnssecd.replacing import replace

Numbered = Iterator[tuple[int, bytes]]

#: Octets of memory that a record takes in addition to its text.
ROW_OCTETS = 200

_NOT_SHOWN = "not a zone file record; its words are not shown, because not all users may read that file"
_NOT_SHOWN_REMEDY = (
    "include only zone files; to see the words, give it the owner, group and mode of the zone file"
)


class _Stop(Exception):
    """Reading ends: the rest cannot be read, or (``more``) the limit of errors is reached."""

    def __init__(self, *, more: bool) -> None:
        super().__init__(more)
        self.more = more


class ZoneWarning(NamedTuple):
    """A fault that does not reject the zone; ``line`` 0 means the zone as a whole.

    outside: the owner name of a record that is ignored since it is outside the zone.
    """

    file: str
    line: int
    text: str
    outside: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return one_line(f"{place}: {self.text}")


@dataclass(slots=True)
class Context:
    """The state of reading one file; names are in lower-cased wire form, ``key`` None is outside the zone."""

    path: Path
    origin: bytes
    owner: bytes | None = None
    key: bytes | None = None
    #: The origin changed and no record has named an owner since.
    owner_is_stale: bool = False


@dataclass
class Reader:
    """Reads files into ``rows``; ZoneFileErrors is its only exception."""

    zone: bytes
    limits: Limits
    strip: bool
    use_fast_lane: bool = True
    #: DNSKEY RRs at the apex are left out, but noted: those of the zone's other signers.
    keep_dnskeys: bool = False
    dnskeys: list[bytes] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    stripped: dict[int, int] = field(default_factory=dict)
    warnings: list[ZoneWarning] = field(default_factory=list)
    errors: list[ZoneFileError] = field(default_factory=list)
    files: list[FileIdentity] = field(default_factory=list)
    out_of_zone: int = 0
    #: The file that has no line end at its end, or "".
    cut: str = ""
    default_ttl: int | None = None
    last_ttl: int | None = None
    #: RDATA of the apex SOA.
    soa: bytes | None = None

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256()
        self.fast = FastLane(self.zone, self.rows, self.stripped, strip=self.strip)
        if self.keep_dnskeys:
            self.fast.decline(DNSKEY)
        self._open_files: list[FileIdentity] = []
        #: Octets of memory that generated records have taken so far, including those not kept.
        self._generated = 0
        self._tsig_seen = False
        #: Included files whose words must not be shown.
        self._private: set[Path] = set()
        self._shown_as: tuple[int, int, int] | None = None

    def read(self, path: Path) -> None:
        """Read the zone file; raise ZoneFileErrors with all faults, or FileChanged."""
        more = False
        try:
            self._file(Context(path, self.zone))
        except RecordError as error:
            cause = error.cause.removeprefix(f"{path} ").replace(f"cannot read {path}:", "cannot read it:", 1)
            self.errors.append(ZoneFileError(str(path), 0, cause, error.remedy))
        except _Stop as stop:
            more = stop.more
        if self.errors:
            changed = not Digest(tuple(self.files), b"").unchanged()
            raise (FileChanged if changed else ZoneFileErrors)(self.errors, more=more)

    def _file(self, context: Context) -> None:
        try:
            source = Source(context.path, self.limits, self.digest)
        except OSError as error:
            raise RecordError(f"cannot read {context.path}: {error.strerror}") from None
        with source:
            self._enter(source.identity)
            self._judge_private(source)
            numbered = enumerate(chain.from_iterable(self._bounded(source.blocks())), 1)
            try:
                self._lines(numbered, context)
            except RecordError as error:
                self._error(context.path, source.lines + 1, error)
            finally:
                if source.ends_in_line:
                    self.cut = str(source.path)
            source.check_unchanged()
            self._leave(source)

    def _bounded(self, blocks: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
        for block in blocks:
            self._check_number()
            yield block
        self._check_number()

    def _check_number(self) -> None:
        if len(self.rows) > self.limits.records:
            raise self._too_many()

    def _too_many(self) -> RecordError:
        return RecordError(f"the zone has more than {self.limits.records} records", fatal=True)

    def _enter(self, identity: FileIdentity) -> None:
        if len(self._open_files) > self.limits.include_depth:
            raise RecordError(f"files include one another more than {self.limits.include_depth} deep")
        if any(identity[1:3] == opened[1:3] for opened in self._open_files):
            raise RecordError(f"{identity.path} includes itself", "remove the $INCLUDE that closes the loop")
        if len(self.files) >= self.limits.files:
            raise RecordError(f"more than {self.limits.files} files are included")
        self._open_files.append(identity)
        self.files.append(identity)

    def _leave(self, source: Source) -> None:
        self._open_files.pop()
        if source.has_bom:
            cause = "the file begins with a byte order mark"
            self._error(source.path, 1, RecordError(cause, "save it as UTF-8 without one"))

    def _judge_private(self, source: Source) -> None:
        """Decide whether messages may show words of a file: they must not reveal a file that the user cannot read."""
        if self._shown_as is None:
            self._shown_as = source.access
        elif not source.is_public and source.access != self._shown_as:
            self._private.add(source.path)

    def _error(self, path: Path, line: int, error: RecordError) -> None:
        cause, remedy = error.cause, error.remedy
        if path in self._private:
            cause, remedy = _NOT_SHOWN, _NOT_SHOWN_REMEDY
        self.errors.append(ZoneFileError(str(path), line, cause, remedy))
        if error.fatal or len(self.errors) >= self.limits.errors:
            raise _Stop(more=not error.fatal)

    def warn(self, context: Context, line: int, text: str, outside: str = "") -> None:
        """Add a warning if there is room."""
        if len(self.warnings) >= self.limits.warnings:
            return
        if context.path in self._private:
            text, outside = _NOT_SHOWN, ""
        self.warnings.append(ZoneWarning(str(context.path), line, text, outside))

    def _lines(self, numbered: Numbered, context: Context, *, generated: bool = False) -> None:
        """Read lines; each of ``generated`` lines is one record."""
        declined: tuple[int, bytes] | None
        while True:
            if self.fast.origin != context.origin:
                self.fast.set_origin(context.origin)
            if not self.use_fast_lane:
                declined = next(numbered, None)
                if declined is None:
                    return
                self._slow(*declined, iter(()) if generated else numbered, context, generated=generated)
                continue
            key = None if context.owner_is_stale else context.key
            declined, key, self.last_ttl = self.fast.run(numbered, key, self.default_ttl, self.last_ttl)
            if key is not None and key != context.key:
                context.key, context.owner, context.owner_is_stale = key, key_to_wire(key, self.zone), False
            if declined is None:
                return
            self._slow(*declined, iter(()) if generated else numbered, context, generated=generated)

    def _slow(
        self, line: int, text: bytes, following: Numbered, context: Context, *, generated: bool
    ) -> None:
        try:
            record = read_record(line, text, following, self.limits.record)
            if not record.words:
                return
            if record.words[0].startswith(b"$") and not record.blank_owner and not generated:
                self._directive(record, context)
            else:
                self._record(record, context)
        except RecordError as error:
            self._error(context.path, line, error)

    # Directives

    def _directive(self, record: Record, context: Context) -> None:
        keyword = record.words[0].upper()
        arguments = record.words[1:]
        if keyword == b"$TTL":
            (word,) = _arguments(keyword, arguments, 1, 1)
            self.default_ttl = words.ttl(word)
            if self.default_ttl is None:
                raise RecordError(
                    f"{shown(word)} is not a TTL", "write seconds, or a number with w, d, h, m, s"
                )
        elif keyword == b"$ORIGIN":
            (word,) = _arguments(keyword, arguments, 1, 1)
            context.origin = words.name_wire(word, context.origin)
            context.owner_is_stale = True
        elif keyword == b"$INCLUDE":
            self._include(record.line, _arguments(keyword, arguments, 1, 2), context)
        elif keyword == b"$GENERATE":
            self._generate(record.line, arguments, context)
        else:
            raise RecordError(
                f"unknown directive {shown(record.words[0])}", "use $ORIGIN, $TTL, $INCLUDE, $GENERATE"
            )

    def _include(self, line: int, arguments: list[bytes], context: Context) -> None:
        name = unescape(unquote(arguments[0]))
        if not name or b"\x00" in name:
            raise RecordError("$INCLUDE names no file", "write $INCLUDE FILE [ORIGIN]")
        path = context.path.parent / name.decode("utf-8", "surrogateescape")
        origin = words.name_wire(arguments[1], context.origin) if len(arguments) > 1 else context.origin
        self._file(Context(path, origin, context.owner, context.key))

    def _generate(self, line: int, arguments: list[bytes], context: Context) -> None:
        generate = Generate.parse(arguments, self.limits.generate)
        if len(self.rows) + generate.number > self.limits.records:
            raise self._too_many()
        before = len(self.errors)

        def lines() -> Numbered:
            for text in generate.lines(self.limits.line):
                if len(self.errors) > before:
                    return
                self._generated += len(text) + ROW_OCTETS
                if self._generated > self.limits.generated:
                    cause = f"the $GENERATE lines make records of more than {self.limits.generated >> 20} MiB"
                    raise RecordError(cause, "narrow their ranges", fatal=True)
                yield line, text

        self._lines(lines(), replace(context), generated=True)

    # Records

    def _record(self, record: Record, context: Context) -> None:
        rest = record.words
        if words.is_tsig(rest if record.blank_owner else rest[1:]):
            self._skip_tsig(record.line, context)
            return
        if not record.blank_owner:
            self._owner(rest[0], context)
            rest = rest[1:]
        elif context.owner is None:
            raise RecordError(
                "the record has no owner, and no record before it has one",
                "write the owner at the start of the line",
            )
        elif context.owner_is_stale:
            context.owner_is_stale = False
            text = f"a record without owner follows $ORIGIN; it belongs to {wire_to_text(context.owner)}"
            self.warn(context, record.line, text)
        ttl, rtype, position = words.ttl_class_type(rest)
        if ttl is not None:
            self.last_ttl = ttl
        self._take(record.line, context, ttl, rtype, rest[position:])

    def _skip_tsig(self, line: int, context: Context) -> None:
        """Skip the TSIG records that dig and kdig print with a transfer."""
        if not self._tsig_seen:
            self.warn(context, line, "TSIG records, as dig prints them with a transfer, are ignored")
        self._tsig_seen = True

    def _owner(self, word: bytes, context: Context) -> None:
        context.owner = words.name_wire(word, context.origin)
        context.owner_is_stale = False
        try:
            context.key = owner_key(context.owner, self.zone)
        except BadName:
            context.key = None

    def _take(self, line: int, context: Context, ttl: int | None, rtype: int, rdata: list[bytes]) -> None:
        if context.key is None:
            self.out_of_zone += 1
            owner = wire_to_text(context.owner or b"")
            self.warn(context, line, f"{owner} is outside the zone: ignored", owner)
            return
        if self.strip and (rtype in SIGNATURE_TYPES or (rtype in APEX_DERIVED_TYPES and not context.key)):
            self.stripped[rtype] = self.stripped.get(rtype, 0) + 1
            if rtype == DNSKEY and self.keep_dnskeys and not context.key:
                self.dnskeys.append(rdata_wire(rtype, rdata, context.origin))
            return
        packed = self.fast.rdata(rtype, rdata) if self.use_fast_lane else None
        wire = rdata_wire(rtype, rdata, context.origin) if packed is None else packed[2:]
        if rtype == SOA:
            self._check_soa(context.key, wire)
        if rtype == DS and not context.key:
            self.warn(context, line, "a DS RRset at the apex belongs in the parent zone: ignored")
            return
        if ttl is None:
            ttl = self._implied_ttl(line, context, rtype, wire)
        self.rows.append((context.key, rtype, ttl, len(wire).to_bytes(2, "big") + wire))

    def _check_soa(self, key: bytes, wire: bytes) -> None:
        if key:
            raise RecordError("an SOA record below the apex", "only the apex may have one")
        if self.soa not in (None, wire):
            raise RecordError("a second SOA record", "remove one")
        self.soa = wire

    def _implied_ttl(self, line: int, context: Context, rtype: int, wire: bytes) -> int:
        """Return the TTL of a record that states none: $TTL, else the last stated, else the SOA's minimum."""
        if self.default_ttl is not None:
            return self.default_ttl
        if self.last_ttl is not None:
            return self.last_ttl
        if rtype != SOA:
            if self.soa is None:
                cause = "the record has no TTL, and neither $TTL nor the SOA record comes before it"
                raise RecordError(cause, "begin the file with $TTL and the SOA record")
            raise RecordError("the record has no TTL and none is set", "put $TTL before it")
        self.default_ttl = min(int.from_bytes(wire[-4:], "big"), words.TTL_MAX)
        self.warn(context, line, f"no TTL is set: the SOA minimum, {self.default_ttl}, is used; add $TTL")
        return self.default_ttl


def _arguments(keyword: bytes, given: list[bytes], least: int, most: int) -> list[bytes]:
    if not least <= len(given) <= most:
        count = str(least) if least == most else f"{least} or {most}"
        raise RecordError(f"{keyword.decode('ascii', 'replace')} takes {count} argument(s), not {len(given)}")
    return given
