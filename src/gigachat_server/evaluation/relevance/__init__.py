"""Fits the scale that turns the features of a passage into its relevance, from prompts with known answers.

`examples.py` says what a prompt teaches, `fit.py` fits and cross-validates, `figures.py` says how good the fit is. All of it
is pure numpy: the features come from a server's own `/retrieve`, so any embedder can be fitted, even one behind a URL.
"""
