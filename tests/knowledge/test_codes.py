"""Codes of units: what they estimate, however the units came."""

from __future__ import annotations

import numpy as np
import pytest

from gigachat_server.knowledge.search.codes import Codes
from gigachat_server.knowledge.search.directions import cosines, inverse_norms, quantised


@pytest.mark.parametrize("dimension", [96, 384, 1000])
@pytest.mark.parametrize("common", [0.0, 4.0])
def test_estimates_are_right_on_average_and_near(dimension: int, common: float) -> None:
    draw = np.random.default_rng(dimension)
    rows = draw.normal(size=(5_000, dimension)) + common * draw.normal(size=dimension)
    directions = quantised(rows)
    norms = inverse_norms(directions)
    codes = Codes((directions * norms[:, None])[:2_000].mean(axis=0))
    for start, end in ((0, 1), (1, 3_000), (3_000, 5_000)):
        codes.append(directions[start:end], norms[start:end])
    prompt = (rows[7] + draw.normal(size=dimension)).astype(np.float32)
    prompt /= np.float32(np.linalg.norm(prompt))
    exact = cosines(directions, norms, prompt)
    off = codes.estimates(prompt) - exact
    spread = 1 / (1 + common)
    assert abs(float(off.mean())) < 0.01 * spread
    assert float(off.std()) < 2 * spread / dimension**0.5
    assert int(codes.estimates(prompt).argmax()) == int(exact.argmax()) == 7
