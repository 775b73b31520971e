"""What is signed and how: denial chains, signature plans, lifetimes, ZONEMD."""
