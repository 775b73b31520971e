"""The command channel: a program of the operator gets each alert as JSON on its standard input."""

from __future__ import annotations

from collections.abc import Sequence

from dnssecd.ops.alerts.channels import ChannelDown, ChannelName, Deferred, Parcel, Sent
from dnssecd.ops.secret_text import redact_text
from dnssecd.procs.program import Ending, run_program

DEADLINE_S = 30.0


class CommandChannel:
    """Runs *argv*; exit status 0 means that the program accepted the message."""

    def __init__(self, argv: Sequence[str], *, deadline_s: float = DEADLINE_S) -> None:
        self._argv = tuple(argv)
        self._deadline_s = deadline_s

    @property
    def name(self) -> ChannelName:
        """The kind of the channel."""
        return "command"

    @property
    def target(self) -> str:
        """The program without its arguments, which may contain a token."""
        return self._argv[0]

    async def send(self, parcel: Parcel) -> Sent:
        """Run the program with a message. Raise ChannelDown when it cannot be started, Deferred when it fails."""
        run = await run_program(self._argv, parcel.body, self._deadline_s, redact=redact_text)
        if run.ending is Ending.NOT_STARTED:
            raise ChannelDown(run.detail)
        if not run.ok:
            raise Deferred(run.detail)
        return Sent()
