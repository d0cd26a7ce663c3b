"""Cuts a text into the pieces of a unigram vocabulary, as SentencePiece does: the most likely way to write it.

The idea: of every place in the text and every length a piece can have, numpy works out a number of 64 bits, and one look
into a sorted list of the pieces' own numbers tells which of them are pieces. No piece is kept as a string, so 250,000 of
them take 8 MB. What is left to Python is the best way through those found, about four a character.

Invariant: the ids are those of `tokenizers`' Unigram behind its Metaspace, for texts that spell no control piece. A text
that does gets the pieces of its letters: no text can write "</s>" and end the model's input.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

WORD_START = "\u2581"  # stands before each word, in place of the blank
UNKNOWN_PENALTY = 10.0  # how much less likely than the least likely piece a character is that no piece holds

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SEED = np.uint64(0xCBF29CE484222325)
_BUCKET_BITS = 20
_NO_CHARACTER = np.uint64(0xFFFFFFFF)

_Codes = npt.NDArray[np.uint32]
_Numbers = npt.NDArray[np.uint64]
_Indices = npt.NDArray[np.intp]


class Unigram:
    """`encode` may be called from several threads at once."""

    def __init__(
        self, text: str, ends: _Indices, scores: npt.NDArray[np.float64], *, unknown: int, controls: Collection[int]
    ) -> None:
        """The pieces stand one after another in `text`; piece n ends before character `ends[n]`, and its id is n."""
        starts = np.concatenate(([0], ends[:-1]))
        lengths = ends - starts
        self._unknown = unknown
        self._longest = int(lengths.max())
        self._scores = scores.copy()
        self._scores[unknown] = scores.min() - UNKNOWN_PENALTY
        pieces = np.delete(np.arange(len(ends)), list(controls))
        numbers = _numbers_of(_codes(text), starts[pieces], lengths[pieces])
        order = np.argsort(numbers)
        self._ids = pieces[order].astype(np.int32)
        self._numbers = numbers[order]
        # Where in the list the numbers begin that have these upper bits.
        held = np.bincount(_bucket(self._numbers), minlength=1 << _BUCKET_BITS)
        self._firsts = np.concatenate(([0], np.cumsum(held))).astype(np.int32)
        self._fullest = int(held.max())

    def encode(self, words: Sequence[str]) -> list[int]:
        """The ids of these words, none of which holds a blank; neighbouring characters that are unknown share one."""
        if not words:
            return []
        codes = _codes(WORD_START + WORD_START.join(words))
        starts, lengths, ids = self._candidates(codes)
        size = len(codes)
        # A word's score begins at 0, as if it stood alone, which is the same path and the same rounding.
        begins_word = codes[starts] == ord(WORD_START)
        before = np.where(begins_word, size + 1, starts)
        score_at = [-np.inf] * (size + 2)
        score_at[size + 1] = 0.0
        chosen = [0] * (size + 1)
        candidates = zip(before.tolist(), (starts + lengths).tolist(), self._scores[ids].tolist(), strict=True)
        for number, (start, end, score) in enumerate(candidates):
            score += score_at[start]
            if score > score_at[end]:
                score_at[end] = score
                chosen[end] = number
        path = _path(chosen, starts.tolist())
        found = ids[path]
        goes_on = (found[1:] == self._unknown) & (found[:-1] == self._unknown) & ~begins_word[path[1:]]
        return [*found[:1].tolist(), *found[1:][~goes_on].tolist()]

    def _candidates(self, codes: _Codes) -> tuple[_Indices, _Indices, npt.NDArray[np.int32]]:
        """Start, length and id of every piece in the text, by start; a character that is none counts as unknown."""
        size, longest = len(codes), self._longest
        padded = np.concatenate((codes.astype(np.uint64), np.full(longest - 1, _NO_CHARACTER)))
        numbers = np.empty((longest, size), np.uint64)
        number = np.full(size, _SEED, np.uint64)
        for length in range(longest):
            number = numbers[length] = _extended(number, padded[length : length + size])
        ids = self._look_up(numbers.T.ravel()).reshape(size, longest)
        alone = ids[:, 0]
        alone[alone < 0] = self._unknown
        starts, columns = np.nonzero(ids >= 0)
        return starts, columns + 1, ids[starts, columns]

    def _look_up(self, numbers: _Numbers) -> npt.NDArray[np.int32]:
        """The ids of the pieces that have these numbers, -1 where none has."""
        ids = np.full(len(numbers), -1, np.int32)
        buckets = _bucket(numbers)
        places, ends = self._firsts[buckets], self._firsts[buckets + 1]
        rows = np.nonzero(places < ends)[0]
        places, ends, numbers = places[rows], ends[rows], numbers[rows]
        while len(rows):
            is_it = self._numbers[places] == numbers
            ids[rows[is_it]] = self._ids[places[is_it]]
            places += 1
            goes_on = np.nonzero(~is_it & (places < ends))[0]
            rows, places, ends, numbers = rows[goes_on], places[goes_on], ends[goes_on], numbers[goes_on]
        return ids


def _path(chosen: Sequence[int], starts: Sequence[int]) -> list[int]:
    """The candidates that lead to the end, first to last; `chosen` has the last of those that lead to each place."""
    path = []
    end = len(chosen) - 1
    while end:
        path.append(chosen[end])
        end = starts[chosen[end]]
    path.reverse()
    return path


def _codes(text: str) -> _Codes:
    # Half a pair of surrogates is no character: it becomes a question mark.
    return np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)


def _numbers_of(codes: _Codes, starts: _Indices, lengths: _Indices) -> _Numbers:
    numbers = np.full(len(starts), _SEED, np.uint64)
    for done in range(int(lengths.max())):
        longer = np.nonzero(lengths > done)[0]
        numbers[longer] = _extended(numbers[longer], codes[starts[longer] + done].astype(np.uint64))
    return numbers


def _extended(numbers: _Numbers, codes: _Numbers) -> _Numbers:
    """The numbers of the same strings with one character more. Wraps around on purpose."""
    extended: _Numbers = (numbers ^ codes) * _MULTIPLIER
    return extended


def _bucket(numbers: _Numbers) -> _Indices:
    return (numbers >> np.uint64(64 - _BUCKET_BITS)).astype(np.intp)
