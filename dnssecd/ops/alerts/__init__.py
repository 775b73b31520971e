"""Alerts: deliver events reliably by mail, webhook and command; decide what is sent to whom, when and how often."""
