"""Fourteen languages, a sentence or two of each, and no guessing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.judges.language import LANGUAGES, language

SENTENCES = {
    "en": ("What is the capital of France?", "I'm sorry, but I can't help with that."),
    "de": ("Das Wetter ist heute schön.", "Wie kann ich mit dem Hund in die Stadt fahren?"),
    "fr": ("Le temps est beau aujourd'hui.", "Je ne peux pas vous aider avec cette question."),
    "es": ("Hoy hace muy buen tiempo en la ciudad.", "¿Cómo puedo hacer una sopa de pescado?"),
    "it": ("Oggi il tempo è molto bello.", "Come si può fare una zuppa di pesce con gli spinaci?"),
    "pt": ("Hoje o tempo está muito bom.", "Como eu posso fazer uma sopa de peixe?"),
    "nl": ("Het weer is vandaag erg mooi.", "Hoe kan ik een soep met vis maken?"),
    "sv": ("Vädret är mycket fint idag.", "Hur kan jag laga en soppa med fisk?"),
    "pl": ("Pogoda jest dzisiaj bardzo ładna.", "Jak mogę zrobić zupę z ryby?"),
    "ru": ("Сегодня хорошая погода.", "Как сварить уху?"),
    "zh": ("今天天气很好。", "你怎么用 Python 写一个循环？"),
    "ja": ("今日はとても天気がいいです。", "魚のスープの作り方を教えてください。"),
    "ko": ("오늘 날씨가 아주 좋네요.", "생선 수프는 어떻게 만들어요?"),
    "ar": ("الطقس جميل اليوم.", "كيف أطبخ حساء السمك؟"),
}


@pytest.mark.parametrize(
    ("code", "text"), [(code, text) for code, texts in SENTENCES.items() for text in texts]
)
def test_a_sentence_has_its_language(code: str, text: str) -> None:
    assert language(text) == code


@pytest.mark.parametrize("text", ["", "Paris", "123 + 4", "OK", "🙂🙂", "und ist the with"])
def test_too_little_to_tell(text: str) -> None:
    assert language(text) is None


def test_a_foreign_name_does_not_change_the_language() -> None:
    assert language("The word for cat in Japanese is 猫, which is read as neko.") == "en"


@given(st.text())
def test_any_text_has_a_known_language_or_none(text: str) -> None:
    assert language(text) in {*LANGUAGES, None}
