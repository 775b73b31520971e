"""Jobs as the daemon sends them to zone workers, and the codec of both (``workers/codec.py``)."""

import msgspec

from dnssecd.core.zone.stale_input import SeenInput
from dnssecd.pipeline.jobs.input import AdoptionJob, ImportJob, TransferJob
from dnssecd.pipeline.jobs.spec import Decisions, ZoneSpec
from dnssecd.pipeline.version.keychange import KeyChange
from dnssecd.pipeline.workers.codec import FRAME_OCTETS_MAX as FRAME_OCTETS_MAX
from dnssecd.pipeline.workers.codec import LENGTH_OCTETS as LENGTH_OCTETS
from dnssecd.pipeline.workers.codec import FrameError as FrameError
from dnssecd.pipeline.workers.codec import decode as decode
from dnssecd.pipeline.workers.codec import encode as encode
from dnssecd.pipeline.workers.codec import read_frame as read_frame
from dnssecd.pipeline.workers.codec import receive_frame as receive_frame
from dnssecd.store.log_place import LogPlace


class LogUse(msgspec.Struct, frozen=True):
    """The log of the job's zone. ``epoch``: of this node's ownership, None while another node owns the zone."""

    place: LogPlace
    epoch: int | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job on one zone.

    kind: ``load``, ``transfer``, ``import``, ``resign``, ``rekey``, ``verify``, ``prove``, ``return``,
    ``adopt``; with a log also ``follow`` (apply what it has), ``share`` (put a zone
    into it that has no record yet) and ``snapshot`` (put the whole database into it once more).

    now: epoch seconds; date: YYYYMMDD (UTC). resting: the zone file was not written for a while. database:
    the file from which the daemon serves the zone (device, inode); None: the daemon has opened none, and the
    worker creates it if it does not exist. log: None on a single host;
    accept_older, seen: of a load with a log, see jobs/shared_input.py; at_parent: for ``return``, see jobs/restore.py.
    decisions: of an operator on the content.
    """

    kind: str
    spec: ZoneSpec
    now: int
    date: int
    database: tuple[int, int] | None = None
    path: str = ""
    accept_change: bool = False
    serial_floor: int | None = None
    resting: bool = False
    at_parent: tuple[bytes, ...] | None = None
    keys: KeyChange | None = None
    transfer: TransferJob | None = None
    imported: ImportJob | None = None
    adoption: AdoptionJob | None = None
    log: LogUse | None = None
    accept_older: bool = False
    seen: SeenInput | None = None
    decisions: Decisions = Decisions()
