"""What all engines share that are decoded by vLLM, whatever they show it."""

from __future__ import annotations

from vist2_memory.engine.base import Engine
from vist2_memory.engine.vllm.arguments import refuse_heat
from vist2_memory.engine.vllm.opening import AT_ONCE
from vist2_memory.engine.vllm.requests import Transport
from vist2_memory.engine.vllm.salts import Salts
from vist2_memory.types import GenerationParams


class DecodedByVLLM(Engine):
    """To be named before the engine that sees; its constructor sets what is here."""

    at_once = AT_ONCE
    transport: Transport
    """To vLLM, in this process or on a server."""
    _salts: Salts

    def forget(self, owner: str) -> None:
        """See :meth:`Engine.forget`; what was kept is found no more, and overwritten in time."""
        self._salts.forget(owner)

    def close(self) -> None:
        """Stop vLLM, where it was started here."""
        self.transport.close()

    def check(self, params: GenerationParams) -> None:
        """See :meth:`Engine.check`; vLLM knows no temperature above 2."""
        refuse_heat(params)
        super().check(params)
