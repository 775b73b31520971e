"""Alerts: from events to mail, webhook and command, durably; who is told what, when, and how often."""
