"""The relevance scales of the built-in embedders: how `gigachat eval --fit` made them, and from what.

Fitted so that 0.78 is where "the documents can answer this" is decided best, by logistic regression with the gold passages of
answerable prompts, unanswerable prompts, and answerable ones whose gold passages were taken away; out of fold by chatbot
(decision 26 has the figures).
"""

from __future__ import annotations

from gigachat_server.models.base import RankWeights, RelevanceScale

# The cosines of e5 spread a third as far as other models' do, so words weigh little beside them.
_E5_RANK = RankWeights(cosine=120, coverage=3.4, lexical=0.9, identified=8)
_E5_FOLLOW_UP_RANK = RankWeights(cosine=120, coverage=2, lexical=6, identified=8)

E5 = RelevanceScale(
    cosine=34.68,
    coverage=3.43,
    foreign=4.62,
    prior=21.81,
    margin=21.36,
    size=-0.618,
    identified=2.5,
    unidentified=-4.82,
    bias=-26.80,
    leniency=1.20,
    rank=_E5_RANK,
    follow_up_rank=_E5_FOLLOW_UP_RANK,
    same_prompt=0.96,
    similar_prompt=0.935,
    same_text=0.985,
    general=RelevanceScale(
        cosine=37.54,
        coverage=3.27,
        foreign=4.63,
        margin=18.67,
        size=-0.598,
        identified=2.5,
        unidentified=-4.89,
        bias=-29.16,
        leniency=0.8,
        rank=_E5_RANK,
        follow_up_rank=_E5_FOLLOW_UP_RANK,
        same_prompt=0.96,
        similar_prompt=0.935,
        same_text=0.985,
    ),
)

MINILM = RelevanceScale(
    cosine=4.28,
    coverage=5.27,
    foreign=5.07,
    prior=6.06,
    margin=1.79,
    size=-0.777,
    identified=2.5,
    unidentified=-4.91,
    bias=-0.125,
    leniency=0.67,
    rank=RankWeights(cosine=16.6, coverage=6.4, lexical=1.1, identified=3),
    follow_up_rank=RankWeights(cosine=16.6, coverage=3, lexical=6, identified=3),
)
