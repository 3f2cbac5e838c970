#!/usr/bin/env python3
"""Compares a real base model in a GGUF file with transformers: token ids and logits of some prompts.

  .venv/bin/python tests/peft/verify_base.py --model FILE.gguf --gpu-worker target/debug/gpu-worker

Both read the same file and compute in f32. Exit code 0 when all ids are equal and no logit differs by more than the limit.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

PROMPTS = [
    "Die Baugenehmigung ist zu erteilen, wenn dem Vorhaben keine öffentlich-rechtlichen Vorschriften entgegenstehen.",
    "§ 35 Abs. 1 Nr. 8 BauGB:  zwei Leerzeichen,\tein Tabulator\nund eine neue Zeile 🏠 – Ende",
    "The capital of France is",
]


def ours(arguments: argparse.Namespace) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        prompts, out = pathlib.Path(folder) / "prompts.jsonl", pathlib.Path(folder) / "logits.safetensors"
        prompts.write_text("".join(json.dumps({"text": text}) + "\n" for text in PROMPTS), encoding="utf-8")
        command = [arguments.gpu_worker, "logits", "--base", arguments.model, "--prompts", prompts, "--out", out]
        subprocess.run(command, check=True)
        return load_file(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--gpu-worker", type=pathlib.Path, required=True)
    parser.add_argument("--limit", type=float, default=1e-3, help="largest difference of logits (default 1e-3)")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    place = {"pretrained_model_name_or_path": arguments.model.parent, "gguf_file": arguments.model.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32, attn_implementation="eager")
    found, failed = ours(arguments), False
    for index, text in enumerate(PROMPTS):
        ids, logits = found[f"ids.{index}"], found[f"logits.{index}"]
        same_ids = ids.tolist() == tokenizer.encode(text)
        with torch.no_grad():
            expected = model(ids[None]).logits[0]
        difference, largest = (logits - expected).abs().max().item(), expected.abs().max().item()
        same_top = int((logits.argmax(-1) == expected.argmax(-1)).sum())
        print(
            f"prompt {index}: {len(ids)} tokens, ids {'equal' if same_ids else 'DIFFER'}, logits differ by at most "
            f"{difference:.1e} (largest {largest:.1f}), same top token at {same_top} of {len(ids)} positions"
        )
        failed |= not same_ids or not difference <= arguments.limit
    sys.exit(failed)


if __name__ == "__main__":
    main()
