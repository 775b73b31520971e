"""How many files may be open: as many as are wanted, where that is allowed; else fewer databases are kept open."""

import resource

from dnssecd.daemon.zones.databases import OPEN_MAX

#: For databases, connections and transfers, with room to spare; systemd/dnssecd.service allows as many.
WANTED = 16_384
#: Listeners, connections (server/limits.py), looks at secondaries and parents, the log, workers' pipes.
OTHERS = 1_024
#: A database with its log, for the writer and for some readers.
PER_DATABASE = 8
DATABASES_MIN = 16


def allow_many() -> int:
    """Raise the soft limit on open files as far as is wanted and allowed; return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(WANTED, hard) if hard != resource.RLIM_INFINITY else WANTED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return WANTED if soft == resource.RLIM_INFINITY else soft


def databases_max(files: int) -> int:
    """Return how many zone databases may be kept open when so many files may be."""
    return max(DATABASES_MIN, min(OPEN_MAX, (files - OTHERS) // PER_DATABASE))


def shortage(files: int) -> str:
    """Return what is wrong with so few open files ("": nothing), for the log."""
    enough = OTHERS + PER_DATABASE * OPEN_MAX
    if files >= enough:
        return ""
    return (
        f"only {files} files may be open, {enough} are wanted: {databases_max(files)} zone databases are kept open "
        f"instead of {OPEN_MAX}, and many connections at once may fail; raise the hard limit "
        "(LimitNOFILE= of the service, ulimit -Hn in a shell)"
    )
