"""Align a model behind any OpenAI-compatible server, judged by another one, within a budget.

python examples/align_endpoint.py http://localhost:8000 my-model my-judge my-queries.jsonl
"""

import asyncio
import sys

import trueup


async def main(url: str, policy: str, judge: str, data: str) -> None:
    job = trueup.Job(
        policy=f"endpoint:{url}#{policy}",
        writer=f"endpoint:{url}#{judge}",
        judge="dynamic",
        judge_model=f"endpoint:{url}#{judge}",
        data=data,
        budget_calls=4000,
        prices={"policy": (0.10, 0.40), "judge": (0.50, 1.50)},
    )
    outcome = await trueup.align(job)
    print(outcome.results["summary"])
    print(outcome.aligned.prompt.instruction)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
