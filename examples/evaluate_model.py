"""How good is a model on your own queries, and what does its aligned prompt buy?

python examples/evaluate_model.py runs/align-1a2b3c4d my-queries.jsonl
"""

import asyncio
import sys

from trueup.jobs.evaluate_job import EvaluateJob
from trueup.jobs.evaluating import evaluate


async def main(run: str, file: str) -> None:
    job = EvaluateJob(run, (f"queries@{file}",), against="plain", judge="checks", n=50)
    outcome = await evaluate(job)
    found = outcome.results["benchmarks"]["queries"]
    for row in found["table"]:
        gap = row["difference"]
        if gap is not None:
            print(f"{row['name']:<20} {gap['value']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]")
    print(f"The prompt adds {found['tokens_added']['tokens']:.0f} tokens to each request.")
    print(f"Every reply: {outcome.folder}/queries.jsonl")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
