"""Follow another node's zone: read its log, verify each record before it is applied, and be ready to take over."""
