"""How good answers are: reading sets of prompts, scoring results, suggesting thresholds."""
