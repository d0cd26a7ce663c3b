"""From a prompt to the passages that may answer it, with a score for each."""
