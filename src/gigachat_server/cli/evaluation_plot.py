"""Draws a run: the distribution of scores of both kinds of questions, and the refusals at each threshold.

Invariant: drawn without a display and without a network; the same run gives the same bytes.
"""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gigachat_server.cli.evaluation_report import ChatbotRun
from gigachat_server.errors import SetupError
from gigachat_server.evaluation.relevance.figures import STEPS, Figures
from gigachat_server.evaluation.relevance.fit import BAR
from gigachat_server.evaluation.thresholds import GRID, Suggestion, Tally
from gigachat_server.settings import set_for_library

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by everyone, and in grey (Okabe and Ito's blue and vermilion).
_ANSWERABLE, _UNANSWERABLE, _PRESENT, _SUGGESTED = "#0072B2", "#D55E00", "#222222", "#666666"
_KIND_LINES = (":", "-.", (0, (1, 4)), (0, (6, 4)))  # of the first kinds of unanswerable questions
_BINS = [step / 25 for step in range(26)]
_STYLE: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "text.parse_math": False,  # a name with dollars is not a formula
    "svg.hashsalt": "gigachat",
    "svg.fonttype": "none",
}


def check() -> None:
    """To be called before anything is drawn. Raises `SetupError` where nothing can be."""
    # What matplotlib remembers of the system's fonts would stay in the user's home, or cause a warning where there is none.
    cache = tempfile.mkdtemp(prefix="gigachat-plot-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    set_for_library("MPLCONFIGDIR", cache)
    try:
        import matplotlib  # noqa: F401 - it takes half a second, and only a plot needs it
    except ImportError:
        raise SetupError("--plot needs matplotlib: pip install 'gigachat-server[plots]'.") from None


def draw(suggestions: Sequence[tuple[ChatbotRun, Suggestion]], *, kind: str) -> bytes:
    """The picture as a file of that kind, "svg" or "png": a row for each collection."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(11, 4.2 * len(suggestions)), layout="constrained")
        rows = figure.subplots(len(suggestions), 2, squeeze=False)
        for (asked, suggestion), (left, right) in zip(suggestions, rows, strict=True):
            tally = Tally(asked.scored)
            _draw_scores(left, tally, asked, suggestion)
            _draw_refusals(right, tally, asked, suggestion)
        return _saved(figure, kind)


def _draw_scores(axes: Axes, tally: Tally, asked: ChatbotRun, suggestion: Suggestion) -> None:
    kinds = ((tally.answerable, _ANSWERABLE, "answerable"), (tally.unanswerable, _UNANSWERABLE, "unanswerable"))
    for scores, colour, name in kinds:
        if scores:
            share = [100 / len(scores)] * len(scores)
            label = f"{name} ({len(scores)})"
            axes.hist(scores, bins=_BINS, weights=share, color=colour, alpha=0.45, label=label)
            axes.hist(scores, bins=_BINS, weights=share, color=colour, histtype="step", linewidth=1.2)
    axes.set_title(f"{asked.name}: score of the best passage")
    axes.set_ylabel("% of the questions of a kind")
    _mark(axes, asked, suggestion)
    _frame(axes, "score")


def _draw_refusals(axes: Axes, tally: Tally, asked: ChatbotRun, suggestion: Suggestion) -> None:
    rates = [tally.rates(threshold) for threshold in GRID]
    if tally.unanswerable:
        axes.plot(
            GRID, [100 * rate.right_refusals for rate in rates], color=_UNANSWERABLE, label="refused rightly (unanswerable)"
        )
    kinds = asked.tallies_of_kinds()
    for (kind, of_kind), line in zip(kinds.items() if len(kinds) > 1 else (), _KIND_LINES, strict=False):
        rightly = [100 * of_kind.rates(threshold).right_refusals for threshold in GRID]
        label = f"of these {kind} ({len(of_kind.unanswerable)})"
        axes.plot(GRID, rightly, color=_UNANSWERABLE, linewidth=0.9, alpha=0.8, linestyle=line, label=label)
    if tally.answerable:
        wrongly = [100 * rate.false_refusals for rate in rates]
        axes.plot(GRID, wrongly, color=_ANSWERABLE, linestyle="--", label="refused wrongly (answerable)")
    axes.set_title("Refusals at each threshold")
    axes.set_ylabel("% refused")
    axes.set_ylim(0, 102)
    _mark(axes, asked, suggestion)
    _tell_present(axes, tally, asked.chatbot.match_threshold)
    _frame(axes, "match_threshold")


def draw_reliability(figures: Figures, *, kind: str) -> bytes:
    """What each relevance turned out to mean: of the prompts that have it, the share that the documents answer."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(6.5, 6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        bins = figures.bins
        relevance = [each.relevance for each in bins]
        shares = [100 * each.answerable.share for each in bins]
        lower = [share - 100 * each.answerable.low for share, each in zip(shares, bins, strict=True)]
        upper = [100 * each.answerable.high - share for share, each in zip(shares, bins, strict=True)]
        above.plot((0, 1), (0, 100), color=_SUGGESTED, linewidth=1, linestyle=":", label="if relevance were the share")
        above.errorbar(relevance, shares, yerr=(lower, upper), color=_ANSWERABLE, marker="o", capsize=3, label="found")
        above.axvline(BAR, color=_PRESENT, linewidth=1.2, label=f"threshold {BAR}")
        above.set_ylim(0, 102)
        above.set_ylabel("% that the documents answer")
        above.set_title("Prompts that the scale did not see, by the relevance of their best passage")
        above.legend(loc="upper left")
        below.bar(
            [each.low for each in bins],
            [each.counted for each in bins],
            width=1 / STEPS,
            align="edge",
            color=_ANSWERABLE,
            alpha=0.45,
        )
        below.axvline(BAR, color=_PRESENT, linewidth=1.2)
        below.set_xlim(0, 1)
        below.set_xlabel("relevance")
        below.set_ylabel("prompts")
        return _saved(figure, kind)


def _saved(figure: Figure, kind: str) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return written.getvalue()


def _mark(axes: Axes, asked: ChatbotRun, suggestion: Suggestion) -> None:
    """The present threshold, and the suggested one where that is another."""
    present = asked.chatbot.match_threshold
    axes.axvline(present, color=_PRESENT, linewidth=1.2, label=f"present threshold {present:.2f}")
    suggested = suggestion.suggested
    if suggestion.is_better and suggested is not None and round(suggested.threshold - present, 2):
        label = f"suggested threshold {suggested.threshold:.2f}"
        axes.axvline(suggested.threshold, color=_SUGGESTED, linewidth=1.2, linestyle=":", label=label)


def _tell_present(axes: Axes, tally: Tally, present: float) -> None:
    """What the present threshold refuses, in figures."""
    rates = tally.rates(present)
    kinds = ((tally.unanswerable, rates.right_refusals, _UNANSWERABLE), (tally.answerable, rates.false_refusals, _ANSWERABLE))
    for scores, share, colour in kinds:
        if scores:
            place = (present, 100 * share)
            side = -6 if present > 0.2 else 6
            axes.plot(*place, "o", color=colour, markersize=5, clip_on=False, zorder=3)
            axes.annotate(
                f"{share:.1%}",
                place,
                textcoords="offset points",
                xytext=(side, 5),
                ha="right" if side < 0 else "left",
                color=colour,
                bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            )


def _frame(axes: Axes, label: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_xlabel(label)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2, borderaxespad=0)
