"""Report the daemon's state to the service manager (sd_notify(3)), without a library."""

import os
import socket


def notify(*assignments: str) -> bool:
    """Send assignments such as ``READY=1``; return False if the socket is full. Never waits.

    Without a service manager nothing is sent, and True is returned.
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
    """Return after how many seconds without a message the service manager stops this process; 0: never."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0.0, int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6)
    except ValueError:
        return 0.0
