"""Writes the vectors of the example prompts (`knowledge/search/prior.py`) for the built-in embedders; run after changing a list.

Invariant: a file holds the vectors of `customers()` and then of `elsewhere()`, as `embed_prompt` makes them, in 8 bits.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from gigachat_server.knowledge.search import prior
from gigachat_server.models.embedders import weights
from gigachat_server.models.embedders.built_in import E5, MINILM

EMBEDDERS = (E5, MINILM)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    prompts = [*prior.customers(), *prior.elsewhere()]
    for built_in in EMBEDDERS:
        network = built_in.load(weights.find(built_in.published))
        np.save(prior.file_of(built_in.name), prior.packed(network.embed_prompts(prompts)))
        print(f"{built_in.name}: {len(prompts)} prompts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
