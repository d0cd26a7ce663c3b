"""Background work: one loop policy for every worker, and how idle workers are woken."""
