"""Which units belong to which chunks: of each chunk the numbers of its units, one chunk after the other.

Invariant: every chunk has at least one, so that runs of units can be reduced; its maker ensures that.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.intp]


class Members(msgspec.Struct, frozen=True):
    """`units[starts[n] : starts[n + 1]]` are the units of chunk `n`."""

    units: Numbers
    starts: Numbers

    @classmethod
    def of(cls, first: Numbers, last: Numbers, chunks: int) -> Members:
        """Where unit `u` belongs to the chunks `first[u]` to `last[u]`."""
        times = last - first + 1
        units = np.repeat(np.arange(len(first)), times)
        within = np.arange(len(units)) - np.repeat(np.cumsum(times) - times, times)
        of_chunk = np.repeat(first, times) + within
        order = np.argsort(of_chunk, kind="stable")
        starts = np.zeros(chunks + 1, np.intp)
        np.cumsum(np.bincount(of_chunk, minlength=chunks), out=starts[1:])
        return cls(units[order], starts)
