"""What llama.cpp's server can do with its slots, over HTTP.

    server = LlamaSlots("http://127.0.0.1:8080", timeout=600)
    await server.read(0, "You are a judge.")       # slot 0 has read it, and written nothing
    await server.save(0, "a file in the server's own folder")

Which slot should do what is decided in `slots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trueup.models import wire
from trueup.models.address import address
from trueup.models.line import Again, Answer, Line
from trueup.models.pace import Pace
from trueup.models.patience import Patience
from trueup.types import Request


class LlamaSlots:
    """A `slots.SlotServer`. `timeout` is in seconds for one request."""

    def __init__(self, url: str, timeout: float) -> None:
        self._line = Line(
            address(url),
            timeout=timeout,
            patience=Patience(attempts=1),
            pace=Pace(64, steady=True),
        )

    async def rendered(self, request: Request) -> str:
        """The prompt as the model reads it, after the chat template."""
        if isinstance(request.prompt, str):
            return wire.clean(request.prompt)
        turns = [{"role": one.role, "content": wire.clean(one.content)} for one in request.prompt]
        return str((await self._post("apply-template", {"messages": turns}))["prompt"])

    async def read(self, slot: int, text: str) -> None:
        """Have a slot read a text and write nothing."""
        await self._post("completion", {"prompt": text, "n_predict": 0, "id_slot": slot})

    async def save(self, slot: int, file: str) -> None:
        """Write the slot's state into a file."""
        await self._post(f"slots/{slot}", {"filename": file}, action="save")

    async def load(self, slot: int, file: str) -> None:
        """Replace the slot's state by a file's."""
        await self._post(f"slots/{slot}", {"filename": file}, action="restore")

    async def close(self) -> None:
        """Close the connections."""
        await self._line.close()

    async def _post(self, path: str, body: dict[str, Any], action: str = "") -> Mapping[str, Any]:
        def read(answer: Answer) -> Mapping[str, Any]:
            data = answer.data()
            if answer.status != 200 or not isinstance(data, Mapping):
                raise Again(f"{path} answered {answer.status}")
            return data

        query = f"?action={action}" if action else ""
        return await self._line.send(f"../{path}{query}", body, lambda: path, read)
