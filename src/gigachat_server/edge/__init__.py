"""What every way in over HTTP shares: reading requests, rendering errors, idempotency, uploads."""
