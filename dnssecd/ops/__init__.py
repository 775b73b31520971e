"""Operation of the daemon: events, alerts, metrics, logs."""
