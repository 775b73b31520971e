"""Operating the daemon: events, metrics, logs, the control socket."""
