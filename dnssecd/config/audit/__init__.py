"""What ``dnssecd audit`` requires: one immutable table of requirements, judged over configuration and observations."""
