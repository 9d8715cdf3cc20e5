"""Use what a run found: talk to it, or put its prompt in front of another model.

python examples/use_aligned.py runs/align-1a2b3c4d
"""

import asyncio
import sys

from trueup import Aligned, Message


async def main(folder: str) -> None:
    aligned = Aligned.load(folder)
    print(aligned.prompt.instruction)

    model = aligned.model()  # or aligned.model(base=...) for a model that is open already
    turns = [Message("user", "How do I sort a list in Python?")]
    reply = await model.reply(aligned.request(turns))
    print(reply.text)

    turns += [Message("assistant", reply.text), Message("user", "And backwards?")]
    print((await model.reply(aligned.request(turns))).text)
    await model.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
