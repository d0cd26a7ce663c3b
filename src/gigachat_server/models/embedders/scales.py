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
    cosine=34.13,
    coverage=2.99,
    foreign=4.18,
    prior=21.82,
    margin=21.26,
    size=-0.973,
    identified=2.5,
    unidentified=-4.66,
    bias=-24.35,
    leniency=1.28,
    rank=_E5_RANK,
    follow_up_rank=_E5_FOLLOW_UP_RANK,
    same_prompt=0.96,
    similar_prompt=0.935,
    same_text=0.985,
    general=RelevanceScale(
        cosine=37.27,
        coverage=2.86,
        foreign=4.23,
        margin=17.9,
        size=-0.958,
        identified=2.5,
        unidentified=-4.73,
        bias=-27.1,
        leniency=0.8,
        rank=_E5_RANK,
        follow_up_rank=_E5_FOLLOW_UP_RANK,
        same_prompt=0.96,
        similar_prompt=0.935,
        same_text=0.985,
    ),
)

MINILM = RelevanceScale(
    cosine=4.35,
    coverage=4.63,
    foreign=4.46,
    prior=6.01,
    margin=1.48,
    size=-1.105,
    identified=2.5,
    unidentified=-4.88,
    bias=2.02,
    leniency=0.73,
    rank=RankWeights(cosine=16.6, coverage=6.4, lexical=1.1, identified=3),
    follow_up_rank=RankWeights(cosine=16.6, coverage=3, lexical=6, identified=3),
)
