"""Measures a gigachat at work beside the least that could do the same, in one run on one machine.

Idea: a figure alone says more about the machine than about gigachat, so each stands beside a floor measured in the same
run: `floor.py` for turns, the embedder itself for what embeds, the model endpoint itself for first tokens. What is
measured is the real `gigachat serve`, in a process of its own, over the loopback, with its data in a temporary folder.
"""
