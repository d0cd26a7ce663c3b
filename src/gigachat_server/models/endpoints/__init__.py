"""Models and embedders behind HTTP, and all that real endpoints do."""
