"""Align to what you want: a judge is any async function from a query and a reply to a verdict.

python examples/own_judge.py
"""

import asyncio

import trueup
from trueup import Query, Score, Verdict


async def brief_and_kind(query: Query, reply: str) -> Verdict:
    """Short answers with a kind word in them, on a scale of 1 to 5."""
    words = len(reply.split())
    kind = any(word in reply.lower() for word in ("please", "glad", "happy", "sorry", "thank"))
    return Verdict(
        scores=(
            Score("Brevity", max(1.0, 5.0 - words / 20), f"{words} words"),
            Score("Kindness", 5.0 if kind else 1.0, "a kind word" if kind else "no kind word"),
        )
    )


async def main() -> None:
    outcome = await trueup.align(trueup.Job(out="runs/own-judge"), judge=brief_and_kind)
    print(outcome.results["summary"])


if __name__ == "__main__":
    asyncio.run(main())
