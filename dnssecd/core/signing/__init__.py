"""Signing plans without I/O: denial chains, signatures needed, lifetimes, ZONEMD."""
