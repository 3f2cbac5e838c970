#!/usr/bin/env python3
"""Makes tests/fixtures/tiny-llama3-bnb and its values: `tiny-llama3` as transformers and bitsandbytes save it in four bits.

  .venv/bin/python tests/peft/make_bnb.py [FIXTURES]

`tiny-llama3-bnb.safetensors` holds what the codes stand for, by the documented formula: the library's own reading on a CPU is
wrong for rows shorter than a block.
"""

import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def main() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    fixtures = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root
    source, folder = root / "tiny-llama3", fixtures / "tiny-llama3-bnb"
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["lm_head", "o_proj"],
    )
    model = AutoModelForCausalLM.from_pretrained(
        source, quantization_config=config, dtype=torch.float32, device_map="cpu"
    )
    model.save_pretrained(folder)
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]:
        if (source / name).exists():
            shutil.copy(source / name, folder / name)
    tensors = load_file(folder / "model.safetensors")
    suffix = ".quant_state.bitsandbytes__nf4"
    values = {}
    for key in sorted(tensors):
        if key.endswith(suffix):
            name = key.removesuffix(suffix)
            values[name] = dequantised(tensors, name, json.loads(bytes(tensors[key].tolist())))
    save_file(values, fixtures / "tiny-llama3-bnb.safetensors")
    for path in [*folder.iterdir(), fixtures / "tiny-llama3-bnb.safetensors"]:
        path.chmod(0o644)


def dequantised(tensors: dict, name: str, state: dict) -> torch.Tensor:
    packed = tensors[name].flatten()
    codes = torch.stack([packed >> 4, packed & 15], 1).flatten().long()
    scales = tensors[f"{name}.nested_quant_map"][tensors[f"{name}.absmax"].long()]
    nested = tensors[f"{name}.nested_absmax"].repeat_interleave(state["nested_blocksize"])[: len(scales)]
    scales = scales * nested + state["nested_offset"]
    scales = scales.repeat_interleave(state["blocksize"])[: len(codes)]
    return (tensors[f"{name}.quant_map"][codes] * scales).reshape(state["shape"]).contiguous()


if __name__ == "__main__":
    main()
