"""What gigachat says itself: in every language, each phrase, and in the right script."""

from __future__ import annotations

import pytest

from gigachat_server.chat.answers.prompt import DEFAULT_REFUSAL
from gigachat_server.language import phrases
from gigachat_server.language.codes import LANGUAGES, Language
from gigachat_server.language.detect import is_foreign, language

SAID = (
    phrases.refusal,
    phrases.greeting,
    phrases.thanks,
    phrases.farewell,
    phrases.handed_off,
    phrases.away,
    phrases.near_offer,
)


@pytest.mark.parametrize("own", LANGUAGES)
def test_every_language_has_every_phrase(own: Language) -> None:
    said = [each(own) for each in SAID]
    assert all(said) and len(set(said)) == len(said)
    assert all(language(text) in (own, None) for text in said[:1] + said[4:6])
    assert not any(is_foreign(text, own) for text in said)
    if own != "en":
        assert not set(said) & {each("en") for each in SAID}
    for count in (1, 2):
        assert phrases.source_label(own, count).strip(" ").endswith((":", "："))


def test_english_stands_in_for_a_language_that_is_not_known() -> None:
    assert [each(None) for each in SAID] == [each("en") for each in SAID]
    assert phrases.source_label(None, 1) == ""
    assert phrases.refusal(None) == DEFAULT_REFUSAL
