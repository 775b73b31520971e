"""Telling the service manager how we fare (sd_notify(3)), without a library."""

import os
import socket


def notify(*assignments: str) -> bool:
    """Send assignments such as ``READY=1``; tell whether they are on their way. Never waits.

    Where no service manager listens nothing happens, and that is as good as sent.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return True
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto("\n".join(assignments).encode(), socket.MSG_DONTWAIT, address)
    except BlockingIOError:
        return False
    except OSError:
        return True  # no service manager listens: later messages would fail as well
    return True


def watchdog_s() -> float:
    """Return how long (s) the service manager waits for a sign of life from this process; 0: without limit."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0.0, int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6)
    except ValueError:
        return 0.0
