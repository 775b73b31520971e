"""The client side of the key service: batches, deadlines, circuit breaker; no private key is ever here."""
