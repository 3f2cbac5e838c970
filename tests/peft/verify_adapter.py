#!/usr/bin/env python3
"""Compares an adapter of ours in PEFT with the same adapter in our own engine.

  .venv/bin/python tests/peft/verify_adapter.py --base MODEL.gguf --adapter DIR --gpu-worker PATH

Checks the files of the adapter, loads it with PyTorch + PEFT on the same base model in f32, and compares the
logits of all positions of 20 German prompts with those that `gpu-worker logits` writes. Exit code 0 if all agree.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

# Before the first import that reads it: nothing here may depend on a model hub.
os.environ["HF_HUB_OFFLINE"] = "1"

import gguf_to_hf
import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

# What adapter_config.json holds: each key, and its value where there is only one right one.
ANY = object()
CONFIG = {
    "alpha_pattern": {},
    "base_model_name_or_path": ANY,
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "layers_pattern": None,
    "layers_to_transform": None,
    "lora_alpha": ANY,
    "lora_dropout": ANY,
    "modules_to_save": None,
    "peft_type": "LORA",
    "peft_version": ANY,
    "r": ANY,
    "rank_pattern": {},
    "revision": None,
    "target_modules": ANY,
    "task_type": "CAUSAL_LM",
    "use_dora": ANY,
    "use_rslora": ANY,
}


def check_files(adapter: pathlib.Path) -> list[str]:
    """What is wrong with the two files of the adapter."""
    problems = []
    text = (adapter / "adapter_config.json").read_text(encoding="utf-8")
    config = json.loads(text)
    problems += [f"adapter_config.json lacks {key}" for key in CONFIG.keys() - config.keys()]
    problems += [f"adapter_config.json has {key}, which it should not" for key in config.keys() - CONFIG.keys()]
    problems += [
        f"adapter_config.json says {key} = {config[key]!r}, expected {value!r}"
        for key, value in CONFIG.items()
        if value is not ANY and key in config and config[key] != value
    ]
    if not isinstance(config.get("target_modules"), list):
        problems.append("target_modules is not an explicit list")
    if text.strip() != json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False):
        problems.append("adapter_config.json is not written with sorted keys and an indent of 2")
    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        if (file.metadata() or {}).get("format") != "pt":
            problems.append(f"adapter_model.safetensors has metadata {file.metadata()}, expected format = pt")
        for name in file.keys():
            tensor = file.get_tensor(name)
            if tensor.dtype != torch.float32:
                problems.append(f"{name} is {tensor.dtype}, expected float32")
            if not tensor.isfinite().all():
                problems.append(f"{name} has values that are not finite")
            if not tensor.any():
                problems.append(f"{name} is zero: nothing was trained")
    return problems


def load(base: pathlib.Path, adapter: pathlib.Path) -> tuple[PeftModel, list[str]]:
    """The adapter on its base model, and whatever PEFT did not take as it stands in the file."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(model, adapter).eval()
    problems = [
        f"PEFT warns: {warning.message}"
        for warning in caught
        if "adapter" in str(warning.message).lower() or "peft" in str(warning.message).lower()
    ]
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    found = load_file(adapter / "adapter_model.safetensors")
    problems += [f"missing tensor {name}" for name in sorted(expected.keys() - found.keys())]
    problems += [f"unexpected tensor {name}" for name in sorted(found.keys() - expected.keys())]
    problems += [
        f"{name} differs from the file after loading"
        for name in sorted(expected.keys() & found.keys())
        if not torch.equal(expected[name].float(), found[name].float())
    ]
    return model, problems


def our_logits(arguments: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Token ids and logits of each prompt as our engine computes them."""
    if arguments.logits:
        return load_file(arguments.logits)
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "logits.safetensors"
        command = [arguments.gpu_worker, "logits", "--base", arguments.base, "--adapter", arguments.adapter]
        subprocess.run([*map(str, command), "--prompts", str(arguments.prompts), "--out", str(out)], check=True)
        return load_file(out)


def compare(model: PeftModel, tokenizer, prompts: list[str], ours: dict, limit: float) -> list[str]:
    """Prints one line per prompt and returns the prompts that disagree."""
    problems, worst, effect, agreeing, positions = [], 0.0, 0.0, 0, 0
    print(f"{'prompt':>6} {'tokens':>6} {'max |difference|':>17} {'max |logit|':>12} {'adapter moves by':>17} {'same top token':>15}")
    for index, prompt in enumerate(prompts):
        ids = tokenizer.encode(prompt, add_special_tokens=False)
        found = ours[f"ids.{index}"].tolist()
        if ids != found:
            problems.append(f"prompt {index}: token ids {found}, expected {ids}")
            continue
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0]
            with model.disable_adapter():
                bare = model(torch.tensor([ids])).logits[0]
        logits = ours[f"logits.{index}"]
        if logits.shape != expected.shape:
            problems.append(f"prompt {index}: logits of shape {tuple(logits.shape)}, expected {tuple(expected.shape)}")
            continue
        # A value that is not a number counts as far off.
        difference = (logits - expected).abs().nan_to_num(nan=math.inf).max().item()
        moved = (expected - bare).abs().max().item()
        same = int((logits.argmax(-1) == expected.argmax(-1)).sum())
        print(f"{index:>6} {len(ids):>6} {difference:>17.2e} {expected.abs().max():>12.2f} {moved:>17.2f} {same:>11}/{len(ids)}")
        if difference > limit:
            problems.append(f"prompt {index}: logits differ by {difference:.3e}, allowed {limit:.0e}")
        worst, effect = max(worst, difference), max(effect, moved)
        agreeing += same
        positions += len(ids)
    print(f"all: {positions} positions, largest difference {worst:.2e} (allowed {limit:.0e}), same top token at {agreeing}")
    if effect <= 100 * limit:
        problems.append(f"the adapter moves the logits by {effect:.1e} only: agreement would say nothing")
    return problems


def main() -> int:
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, required=True, help="GGUF file or Hugging Face folder")
    parser.add_argument("--adapter", type=pathlib.Path, required=True, help="PEFT folder of the adapter")
    parser.add_argument("--gpu-worker", type=pathlib.Path, default=here.parents[1] / "target/debug/gpu-worker")
    parser.add_argument("--prompts", type=pathlib.Path, default=here / "prompts.jsonl")
    parser.add_argument("--logits", type=pathlib.Path, help="use this output of `gpu-worker logits` instead of running it")
    parser.add_argument("--limit", type=float, default=1e-3, help="largest allowed difference of a logit (default 1e-3)")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(os.cpu_count() or 1)

    base = arguments.base
    if base.is_file():
        base = here.parents[1] / ".models" / f"{arguments.base.stem}-f32"
        gguf_to_hf.convert(arguments.base, base)
    prompts = [json.loads(line)["prompt"] for line in arguments.prompts.read_text(encoding="utf-8").splitlines()]
    problems = check_files(arguments.adapter)
    model, found = load(base, arguments.adapter)
    problems += found
    problems += compare(model, AutoTokenizer.from_pretrained(base), prompts, our_logits(arguments), arguments.limit)
    for problem in problems:
        print(f"verify_adapter: {problem}", file=sys.stderr)
    print("PEFT and our engine agree" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
