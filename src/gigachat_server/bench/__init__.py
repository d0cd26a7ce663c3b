"""Measures gigachat at work beside the smallest program that could do the same, in one run on one machine.

Idea: a figure alone says more about the machine than about gigachat, so each stands beside a floor measured in the same run:
`floor.py` for turns, the embedder itself for embedding, the model endpoint itself for first tokens. The server under test is
the real `gigachat serve`, in a separate process, over the loopback, with its data in a temporary folder.
"""
