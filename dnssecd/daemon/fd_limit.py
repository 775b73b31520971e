"""The limit on open files: raise it as far as needed; if that is not allowed, keep fewer databases open."""

import resource

import structlog

from dnssecd.daemon.zones.databases import OPEN_MAX

#: Enough for databases, connections and transfers; systemd/dnssecd.service allows this number.
WANTED = 16_384
#: For listeners, connections (server/limits.py), queries to secondaries and parents, the log, workers' pipes.
OTHERS = 1_024
#: For one database with its log: the writer and some readers.
PER_DATABASE = 8
DATABASES_MIN = 16

log = structlog.get_logger("dnssecd")


def allow_databases() -> int:
    """Raise the limit on open files as far as is allowed; return how many databases may be kept open; log if few."""
    files = allow_many()
    trouble = shortage(files)
    if trouble:
        log.warning("few files may be open", cause=trouble)
    return databases_max(files)


def allow_many() -> int:
    """Raise the soft limit on open files as far as needed and allowed; return the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(WANTED, hard) if hard != resource.RLIM_INFINITY else WANTED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return WANTED if soft == resource.RLIM_INFINITY else soft


def databases_max(files: int) -> int:
    """Return how many zone databases may be kept open with this limit on files."""
    return max(DATABASES_MIN, min(OPEN_MAX, (files - OTHERS) // PER_DATABASE))


def shortage(files: int) -> str:
    """Return a warning for the log if the limit is too low; "" if not."""
    enough = OTHERS + PER_DATABASE * OPEN_MAX
    if files >= enough:
        return ""
    return (
        f"only {files} files may be open, {enough} are needed: {databases_max(files)} zone databases are "
        f"kept open "
        f"instead of {OPEN_MAX}, and many connections at once may fail; raise the hard limit "
        "(LimitNOFILE= of the service, ulimit -Hn in a shell)"
    )
