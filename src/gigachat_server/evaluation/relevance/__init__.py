"""Fitting the scale by which the features of a passage become its relevance, from prompts with known answers.

`examples.py` says what a prompt teaches, `fit.py` fits and cross-validates, `figures.py` says how good that is. All of it is
numpy alone and pure: the features come from a server's own `/retrieve`, so any embedder can be fitted, also one behind a URL.
"""
