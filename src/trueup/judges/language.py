"""Which language is a text written in? By its script, and by its smallest words.

    language("Das Wetter ist heute sehr schön.")     # "de"
    language("Paris")                                # None: it could be anything

The idea: a script settles Chinese, Japanese, Korean and Arabic, and Russian among the languages
known here; among those in Latin letters the commonest words and a few letters vote, and the
winner must lead. Fourteen languages are known: en de fr es it pt nl sv pl ru zh ja ko ar.

What it does not do: guess. A text with too few telling words has no language (None), and so has
one whose votes are nearly even. Ukrainian, Persian and others that share a script with one of the
fourteen are taken for it.
"""

from __future__ import annotations

import re

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "pl", "ru", "zh", "ja", "ko", "ar")

_READ = 4000
"""Characters read."""

_SCRIPTS = {
    "ko": re.compile(r"[\uac00-\ud7af\u1100-\u11ff]"),
    "kana": re.compile(r"[\u3040-\u30ff]"),
    "han": re.compile(r"[\u3400-\u9fff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
    "latin": re.compile(r"[a-z\u00c0-\u024f]", re.IGNORECASE),
}
_LETTERS_PER_IDEOGRAPH = 3
"""A Chinese character says about as much as three letters, and is counted so."""

_SMALL_WORDS = {
    "en": "the and of to is in that it you for was are with this be have not on as at i we they "
    "what how can from your do a an or but by if would there their will which",
    "de": "der die das und ist nicht ein eine zu den mit sie ich es auf für von dem im wie wir "
    "sich auch bei einen wird was man sind oder aber wenn kann du mir haben nach",
    "fr": "le la les et est un une des en que qui pour dans pas vous je il elle du au sur avec "
    "ce sont nous plus ne se c'est être par comme ou mais cette aux l'on quelle où",
    "es": "el la los las y es un una que en de por con para no se su lo como más pero está del al "
    "son cómo qué puede ser o muy hay yo usted tiene este esta",
    "it": "il lo la gli le e è un una che di in per non con si sono del della come più ma anche "
    "questo nel dei alla ho io ci cosa perché o essere può quando oggi molto tutto sempre grazie",
    "pt": "o a os as e é um uma que de em para não com se do da por mais como mas dos das no na "
    "são você eu ele está isso ao pode ou ser também foi tem hoje muito bem isto seu já",
    "nl": "de het een en is van dat niet in op te zijn voor met die ik je er aan ook maar om wat "
    "hoe kan als bij wordt naar deze hij zij wij of heeft",
    "sv": "och det att i en är som på för med inte av till den har jag ett om men så du kan vi hur "
    "var de han hon från eller när där ska vad",
    "pl": "i w nie na się jest to z do że jak o co ale po tak za od czy dla ma są przez być ja ty "
    "który może jego tylko lub jeśli gdzie",
}
_TELLING_LETTERS = {
    "de": "ßäöü",
    "fr": "çêœèàîûë",
    "es": "ñ¿¡",
    "it": "ìòù",
    "pt": "ãõ",
    "sv": "åäö",
    "pl": "łżśćęąźń",
}
_VOTES = {
    word: tuple(name for name, words in _SMALL_WORDS.items() if word in words.split())
    for words in _SMALL_WORDS.values()
    for word in words.split()
}
_LEAST_VOTES = 1.5
_LEAD = 1.15
"""How many times the runner-up's votes the winner needs."""

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def _script(text: str) -> str | None:
    counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS.items()}
    for dense in ("ko", "kana", "han"):
        counts[dense] *= _LETTERS_PER_IDEOGRAPH
    # Japanese is written with Chinese characters between its kana; Chinese has no kana.
    if counts["kana"] >= 0.1 * (counts["kana"] + counts["han"]) > 0:
        counts["kana"] += counts.pop("han")
    name = max(counts, key=lambda script: counts[script])
    return name if counts[name] else None


def _by_words(text: str) -> str | None:
    """The language of a text in Latin letters; a word of several languages is split among them."""
    votes = dict.fromkeys(_SMALL_WORDS, 0.0)
    for word in _WORD.findall(text.lower().replace("’", "'")):
        names = _VOTES.get(word, ())
        for name in names:
            votes[name] += 1 / len(names)
    lowered = text.lower()
    for name, letters in _TELLING_LETTERS.items():
        owners = [other for other, theirs in _TELLING_LETTERS.items() if set(theirs) & set(letters)]
        votes[name] += sum(lowered.count(letter) for letter in letters) / len(owners)
    first, second = sorted(votes, key=lambda name: -votes[name])[:2]
    leads = votes[first] >= max(_LEAST_VOTES, _LEAD * votes[second])
    return first if leads else None


def language(text: str) -> str | None:
    """The two-letter code (ISO 639-1) of the text's language, or None where it cannot be told."""
    text = text[:_READ]
    script = _script(text)
    if script == "latin":
        return _by_words(text)
    return {"kana": "ja", "han": "zh"}.get(script or "", script)
