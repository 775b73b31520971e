"""Domain names in received messages: each position is read once, so the cost of any message is bounded.

Names are read with the traps of RFC 9267 in mind: a compression pointer leads strictly backwards and never
into the header, a name is at most 255 octets, label types 01 and 10 do not exist, nothing is read past the
end. A pointer may lead to another pointer, that one to a third, and so on. Each step is lawful, but thousands
of records can end in one chain of thousands of pointers. So the reader follows at most HOPS_MAX pointers to
positions not read before, and remembers every position it has read. All names of a message together cost time
linear in its octets.

``fault`` is the exception that is raised for a broken name.
"""

from dnssecd.core.dns.names import APEX, BadName, escape_label, lower, wire_to_text

HEADER_OCTETS = 12
NAME_OCTETS_MAX = 255
#: Pointers followed in one name, to positions not read before. Names that were read before have no such limit.
HOPS_MAX = 16

_POINTER = 0xC0


def skip_name(wire: bytes, start: int, fault: type[Exception]) -> int:
    """Return the position after the name at ``start``; a pointer is checked for its direction and not followed."""
    position = start
    try:
        while length := wire[position]:
            if length < 64:
                position += length + 1
                continue
            if length < _POINTER:
                raise fault("a name has a label of unknown kind")
            if not HEADER_OCTETS <= (length & 63) << 8 | wire[position + 1] < start:
                raise fault("a compression pointer does not lead back")
            position += 1
            break
    except IndexError:
        raise fault("a name runs past the end") from None
    if position - start >= NAME_OCTETS_MAX:
        raise fault("a name is longer than 255 octets")
    return position + 1


class NameTable:
    """The names of one message, lower-cased, each position read at most once."""

    __slots__ = ("_fault", "_wire", "known")

    def __init__(self, wire: bytes, fault: type[Exception]) -> None:
        self._wire = wire
        self._fault = fault
        #: Sound names by position.
        self.known: dict[int, bytes] = {}

    def read(self, start: int) -> tuple[bytes, int]:
        """Return the lower-cased uncompressed name at ``start`` and the position after it; raises ``fault``."""
        wire, known, position = self._wire, self.known, start
        try:
            while length := wire[position]:
                if length < 64:
                    position += length + 1
                    continue
                if length < _POINTER:
                    raise self._fault("a name has a label of unknown kind")
                target = (length & 63) << 8 | wire[position + 1]
                tail = known.get(target) if target < start else None
                if tail is None:
                    tail = self._follow(target, start)
                if position == start:
                    return tail, start + 2
                name = lower(wire[start:position]) + tail
                after = position + 2
                break
            else:
                after = position + 1
                name = lower(wire[start:after])
        except IndexError:
            raise self._fault("a name runs past the end") from None
        if len(name) > NAME_OCTETS_MAX:
            raise self._fault("a name is longer than 255 octets")
        known[start] = name
        return name, after

    def _follow(self, target: int, start: int) -> bytes:
        """Return the name at the target of a pointer that stands in a name that begins at ``start``.

        All positions at which a label or pointer of it stands are remembered, so that none is walked twice.
        """
        wire, known = self._wire, self.known
        walked: list[tuple[int, int]] = []
        octets, limit = 1, start
        for _ in range(HOPS_MAX):
            if not HEADER_OCTETS <= target < limit:
                raise self._fault("a compression pointer does not lead back")
            position = limit = target
            while (tail := known.get(position)) is None and 0 < (length := wire[position]) < 64:
                walked.append((position, position + length + 1))
                octets += length + 1
                position += length + 1
                if octets > NAME_OCTETS_MAX:
                    raise self._fault("a name is longer than 255 octets")
                if position >= start:
                    raise self._fault("a compression pointer leads to a name that runs into its own")
            if tail is not None or not length:
                return self._joined(walked, tail or b"\x00")
            if length < _POINTER:
                raise self._fault("a name has a label of unknown kind")
            walked.append((position, position))
            target = (length & 63) << 8 | wire[position + 1]
        raise self._fault(f"a name leads through more than {HOPS_MAX} compression pointers")

    def _joined(self, walked: list[tuple[int, int]], name: bytes) -> bytes:
        """Put labels before a name, last first, and remember what each step gives."""
        wire, known = self._wire, self.known
        for start, end in reversed(walked):
            name = lower(wire[start:end]) + name
            if len(name) > NAME_OCTETS_MAX:
                raise self._fault("a name is longer than 255 octets")
            known[start] = name
        return name


def read_name(wire: bytes, start: int, fault: type[Exception]) -> tuple[bytes, int]:
    """Return what :meth:`NameTable.read` does, for one name alone."""
    return NameTable(wire, fault).read(start)


class OwnerKeys(dict[bytes, bytes | None]):
    """Owner keys of the names in one message, by lower-cased wire name; None: not in the zone ``origin``.

    The first request for a key also makes the keys of all names above. So thousands of names below one long
    name cost one step each, not one for each label.
    """

    __slots__ = ("_origin",)

    def __init__(self, origin: bytes) -> None:
        super().__init__({origin: APEX})
        self._origin = origin

    def key(self, name: bytes) -> bytes:
        """Return the owner key of a lower-cased wire name; raises BadName for one that is not in the zone."""
        key = self[name]
        if key is None:
            raise BadName(f"{wire_to_text(name)} is not in the zone {wire_to_text(self._origin)}")
        return key

    def __missing__(self, name: bytes) -> bytes | None:
        above, below = name, []
        while above not in self:
            if not above[0]:
                self[above] = None
                break
            below.append(above)
            above = above[above[0] + 1 :]
        key = self[above]
        for each in reversed(below):
            if key is not None:
                key += escape_label(each[1 : each[0] + 1]) + b"\x00"
            self[each] = key
        return key
