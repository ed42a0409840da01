"""vLLM's asynchronous engine in this process, on an event loop in a thread of its own.

vLLM computes in processes that it starts itself; what is here takes requests there.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from itertools import count
from queue import SimpleQueue
from typing import Any

from vist2_memory.engine.vllm.requests import Request, Tokens, Told, Transport
from vist2_memory.errors import EngineUnavailableError, InvalidInputError, ModelError

START_S = 1800.0
"""Seconds that vLLM may take to load a model."""
STOP_S = 60.0


class InProcess(Transport):
    """An engine of vLLM's with the arguments that are given."""

    def __init__(self, arguments: dict[str, Any], lora: str | None = None) -> None:
        """``arguments``: of ``vllm.AsyncEngineArgs``. ``lora``: the folder of an adapter that all
        requests use. Raises ``ModelError`` when vLLM cannot run the model so.
        """
        self._ids, self._lora = count(1), None
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        self.llm: Any = None
        try:
            self.llm = self._call(_started(arguments)).result(START_S)
        except Exception as error:  # vLLM's have no common base
            self._stop_loop()
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"vLLM cannot run the model in {arguments['model']}: {said}; see its log above. A "
                "script that opens it at its top level must do so below "
                "`if __name__ == '__main__':`, since vLLM's processes import the script"
            ) from error
        if lora is not None:
            from vllm.lora.request import LoRARequest

            self._lora = LoRARequest("adapter", 1, lora)

    @property
    def config(self) -> Any:
        """vLLM's own account of what it runs: a ``VllmConfig``."""
        return self.llm.vllm_config

    def send(self, request: Request) -> Tokens:
        """See :meth:`Transport.send`."""
        if self.llm is None:
            raise EngineUnavailableError("the engine was closed: open the memory again")
        return _Streamed(self, self._answers(request, f"vist2-{next(self._ids)}"))

    def close(self) -> None:
        """Stop vLLM and its processes."""
        llm, self.llm = self.llm, None
        if llm is None:
            return
        self._call(_stopped(llm)).result(STOP_S)
        self._stop_loop()

    def _answers(self, request: Request, name: str) -> Any:
        """vLLM's outputs for ``request``, as an asynchronous iterator."""
        from vist2_memory.engine.vllm.prompts import prompt_of

        prompt = prompt_of(request)
        try:
            asked = sampling(request)
        except ValueError as error:
            raise InvalidInputError(f"vLLM refuses what was asked of it: {error}") from error
        return self.llm.generate(prompt, asked, name, lora_request=self._lora)

    def _call(self, work: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def _stop_loop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_S)
        self.loop.close()


class _Streamed(Tokens):
    """What comes of one request, passed from the event loop to whoever asks."""

    def __init__(self, transport: InProcess, answers: Any) -> None:
        self._came: SimpleQueue[Told | BaseException | None] = SimpleQueue()
        self._ended = False
        self._pumping = transport._call(self._pump(answers))

    def __next__(self) -> Told:
        if self._ended:
            raise StopIteration
        told = self._came.get()
        if isinstance(told, Told):
            return told
        self._ended = True
        if told is None:
            raise StopIteration
        raise EngineUnavailableError(
            f"vLLM failed while it answered: {told}; if its processes are gone, open the memory "
            "again"
        ) from told

    def close(self) -> None:
        """See :meth:`Tokens.close`."""
        self._ended = True
        self._pumping.cancel()

    async def _pump(self, answers: Any) -> None:
        try:
            async for output in answers:
                for told in _told(output):
                    self._came.put(told)
            self._came.put(None)
        except (asyncio.CancelledError, CancelledError):
            self._came.put(None)
            raise
        except Exception as error:  # vLLM's have no common base
            self._came.put(error)
        finally:
            await answers.aclose()


def sampling(request: Request) -> Any:
    """vLLM's ``SamplingParams`` of ``request``."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        seed=request.seed,
        logprobs=request.logprobs,
        stop_token_ids=list(request.stop_ids),
        ignore_eos=True,  # the ids that end an answer are those above
        logit_bias=dict.fromkeys(request.shunned, -100.0) or None,
        allowed_token_ids=None if request.allowed is None else list(request.allowed),
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def _told(output: Any) -> list[Told]:
    part = output.outputs[0]
    rows = part.logprobs or [None] * len(part.token_ids)
    return [
        _one(token, row, output.num_cached_tokens)
        for token, row in zip(part.token_ids, rows, strict=True)
    ]


def _one(token: int, row: Any, cached: int | None) -> Told:
    if row is None:
        return Told(int(token), cached=cached)
    best = sorted(row.items(), key=lambda item: -item[1].logprob)
    top = tuple((int(id), float(one.logprob)) for id, one in best)
    return Told(int(token), float(row[token].logprob), top, cached)


async def _started(arguments: dict[str, Any]) -> Any:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    from vist2_memory.engine.vllm.plugin import register

    register()
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))


async def _stopped(llm: Any) -> None:
    llm.shutdown()
