#!/usr/bin/env python3
"""Times greedy decoding of llama.cpp on a GGUF file; one line of JSON for each prompt length, as `generate_speed` prints them.

Runs in .venv-llama. Calls the C functions alone, without the sampling of the Python package.
"""

import argparse
import ctypes
import json
import pathlib
import resource
import time

import llama_cpp
import numpy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--prompts", type=int, nargs="+", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    threads = {"n_threads": arguments.threads, "n_threads_batch": arguments.threads}
    model = llama_cpp.Llama(str(arguments.base), n_ctx=1024, n_batch=1024, n_ubatch=512, verbose=False, **threads)
    ids = model.tokenize(arguments.text.encode(), add_bos=False)
    answer(model, ids[:8], 4)
    for length in arguments.prompts:
        reading, saying = answer(model, ids[:length], arguments.tokens)
        print(json.dumps({"prompt": length, "prefill": length / reading, "decode": arguments.tokens / saying}))
    print(json.dumps({"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


def answer(model: llama_cpp.Llama, ids: list[int], tokens: int) -> tuple[float, float]:
    context = model.ctx
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    start = time.perf_counter()
    token = step(model, context, ids)
    reading = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(tokens):
        token = step(model, context, [token])
    return reading, time.perf_counter() - start


def step(model: llama_cpp.Llama, context, ids: list[int]) -> int:
    # The batch points into it.
    tokens = (ctypes.c_int32 * len(ids))(*ids)
    batch = llama_cpp.llama_batch_get_one(tokens, len(ids))
    if llama_cpp.llama_decode(context, batch) != 0:
        raise SystemExit("generate_llama: llama_decode failed")
    logits = llama_cpp.llama_get_logits_ith(context, -1)
    return int(numpy.ctypeslib.as_array(logits, (model.n_vocab(),)).argmax())


if __name__ == "__main__":
    main()
