"""Answers token ids with vLLM: a process of its own, which any Python that has vllm can run.

vLLM and hsd want other versions of transformers, so this file imports the standard library and
vllm alone. It is asked in lines of JSON on standard input, and answers in lines of JSON on a file
descriptor of its own: vLLM writes to standard output as it likes. When standard input ends, so
does this process with all that it started.
"""

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

ADAPTER = "adapter"
Request = dict[str, Any]


class Vllm:
    """A model that vLLM has loaded, and its adapter."""

    def __init__(self, settings: Request) -> None:
        from vllm import LLM

        self._adapter = settings.pop(ADAPTER, None)
        self._llm = LLM(
            **settings,
            trust_remote_code=False,
            load_format="safetensors",  # a pickle can run code
            enable_prefix_caching=True,
            generation_config="vllm",  # the base's own would penalise repetitions, or sample
            logprobs_mode="raw_logprobs",
        )

    def facts(self) -> Request:
        """Return what was loaded, and by which version."""
        import torch
        import vllm

        config = self._llm.llm_engine.vllm_config
        return {
            "version": vllm.__version__,
            "torch": torch.__version__,
            "device": config.device_config.device_type,
            "dtype": str(config.model_config.dtype).removeprefix("torch."),
            "eager": config.model_config.enforce_eager,
        }

    def scores(self, request: Request) -> list[list[float]]:
        """Return for each row the log-probability of each of its tokens as the next one."""
        from vllm import SamplingParams

        def params(tokens: list[int]) -> SamplingParams:
            return SamplingParams(
                max_tokens=1, temperature=0, logprob_token_ids=tokens, detokenize=False
            )

        rows = request["rows"]
        outs = self._answered(request, [params(tokens) for _, tokens in rows])
        found = [out.outputs[0].logprobs[0] for out in outs]
        return [
            [given[token].logprob for token in tokens]
            for given, (_, tokens) in zip(found, rows, strict=True)
        ]

    def replies(self, request: Request) -> list[list[int]]:
        """Return the token ids of each row's reply."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        def params(seed: int | None) -> SamplingParams:
            schema = request["schema"]
            return SamplingParams(
                max_tokens=request["max_tokens"],
                temperature=request["temperature"],
                seed=seed,
                stop_token_ids=request["stop_ids"],
                ignore_eos=schema is None,  # a form that is filled ends with the tokenizer's own
                structured_outputs=schema and StructuredOutputsParams(json=schema),
                detokenize=False,
                skip_special_tokens=False,
            )

        outs = self._answered(request, [params(seed) for _, seed in request["rows"]])
        return [list(out.outputs[0].token_ids) for out in outs]

    def _answered(self, request: Request, params: list[Any]) -> list[Any]:
        prompts = [{"prompt_token_ids": ids} for ids, _ in request["rows"]]
        lora = self._lora(request[ADAPTER])
        return list(self._llm.generate(prompts, params, use_tqdm=False, lora_request=lora))

    def _lora(self, is_on: bool) -> Any:
        from vllm.lora.request import LoRARequest

        return LoRARequest(ADAPTER, 1, self._adapter) if is_on else None


def main() -> None:
    """Load what the first line asks for, then answer line after line."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # what vLLM starts would keep it open
    asked: SimpleQueue[Request] = SimpleQueue()
    threading.Thread(target=_listen, args=[asked], daemon=True).start()
    with os.fdopen(descriptor, "w", encoding="utf-8") as answers:

        def say(**answer: Any) -> None:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

        try:
            loaded = Vllm(asked.get())
            say(ready=loaded.facts())
            while True:
                request = asked.get()
                say(answer=getattr(loaded, request["ask"])(request))
        except Exception as error:
            with suppress(BrokenPipeError):
                say(error=f"{type(error).__name__}: {error}")
            raise


def _listen(asked: "SimpleQueue[Request]") -> None:
    """Hear what is asked; at the end of it hsd is gone, and nothing may go on without it."""
    for line in sys.stdin:
        asked.put(json.loads(line))
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":  # vLLM starts processes that import this file
    main()
