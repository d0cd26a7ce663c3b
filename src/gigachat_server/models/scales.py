"""The relevance scales of the built-in embedders: how `gigachat eval --fit` made them, and from what.

Fitted so that 0.78 is where "the documents can answer this" is decided best, by logistic regression with the gold passages of
answerable prompts, unanswerable prompts, and answerable ones whose gold passages were taken away; out of fold by chatbot
(decision 26 has the figures).
"""

from __future__ import annotations

from gigachat_server.models.base import RankWeights, RelevanceScale

E5 = RelevanceScale(
    cosine=34.7,
    coverage=3.43,
    foreign=4.62,
    prior=21.8,
    margin=21.4,
    size=-0.618,
    identified=2.5,
    unidentified=-4.8,
    bias=-26.82,
    leniency=1.21,
    # Its cosines spread a third as far as other models' do, so words weigh little beside them.
    rank=RankWeights(cosine=120, coverage=3.4, lexical=0.9, identified=8),
    follow_up_rank=RankWeights(cosine=120, coverage=2, lexical=6, identified=8),
    same_prompt=0.96,
    similar_prompt=0.935,
    same_text=0.985,
)
MINILM = RelevanceScale(cosine=12.77, coverage=8.97, bias=-7.84)
