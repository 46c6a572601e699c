"""A run while it is made: progress against its plan, latencies so far, Prometheus metrics."""
