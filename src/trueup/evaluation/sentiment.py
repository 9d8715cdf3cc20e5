"""Does a text speak well of something? By a short list of words, in microseconds.

    sentiment("A moving film, wonderfully acted.")     # 1.0
    sentiment("Not good, and far too long.")           # -1.0
    sentiment("It opens in Paris.")                    # None: nothing was said either way

The share of good words less that of bad ones; a word after `not`, `never` or `hardly` counts as its
opposite. It does not understand irony or plot ("a terrible crime"), which is why the figure is for
comparing the same model with itself, before and after. `benchmarks/evaluation.py` measures how
often it agrees with the authors of reviews.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))


_GOOD = _words(
    """admirable adorable amazing amusing astonishing beautiful beautifully best brilliant
    brilliantly captivating charming classic clever compelling convincing delight delightful
    delightfully engaging enjoy enjoyable enjoyed entertaining excellent exceptional exciting
    fantastic favorite favourite fine flawless fresh fun funny gem genuine glad good gorgeous great
    greatest gripping hilarious honest impressed impressive incredible inspiring intelligent
    interesting liked love loved lovely magnificent marvellous marvelous masterful masterpiece
    memorable moving must-see outstanding perfect perfectly pleasant pleased pleasure poignant
    powerful praise recommend recommended refreshing remarkable rewarding solid spectacular
    splendid strong stunning superb superbly talented terrific thoughtful thrilling touching
    treasure treat triumph unforgettable uplifting warm well well-acted witty wonderful wonderfully
    worthwhile worthy"""
)
_BAD = _words(
    """absurd amateurish annoying appalling atrocious avoid awful awfully bad badly bland bored
    boring cheap cheesy clumsy confused confusing contrived crap dire disappointed disappointing
    disappointment disaster dreadful dreary dull embarrassing fail failed fails failure flat flawed
    forgettable garbage ghastly hated horrible horribly idiotic implausible incoherent inept
    insulting irritating junk lacks laughable lame lazy lousy mediocre mess miscast miserable
    nonsense nonsensical overlong overrated pathetic pointless poor poorly predictable pretentious
    ridiculous rubbish sadly shallow silly sloppy stupid stupidity tedious terrible terribly
    tiresome trash trite ugly unbearable unconvincing unfortunately unfunny uninspired uninteresting
    unwatchable waste wasted weak wooden worse worst wretched"""
)
_TURNS = _words("not no never hardly isn't wasn't aren't don't didn't doesn't can't nor")


def sentiment(text: str) -> float | None:
    """-1 (nothing but bad) to 1 (nothing but good); None where no such word was said."""
    words = _WORD.findall(text.lower().replace("’", "'"))
    good = bad = 0
    for place, word in enumerate(words):
        if word in _GOOD or word in _BAD:
            turned = not _TURNS.isdisjoint(words[max(0, place - 2) : place])
            if (word in _GOOD) is not turned:
                good += 1
            else:
                bad += 1
    return (good - bad) / (good + bad) if good + bad else None
