#!/usr/bin/env python3
"""Holds exports of ours against transformers, PEFT and the gguf package.

  .venv/bin/python tests/peft/check_export.py --gpu-worker PATH                      on the fixtures of every architecture
  .venv/bin/python tests/peft/check_export.py --gpu-worker PATH --base M --adapter D   on one adapter

merged      transformers loads the folder; its logits are those of PEFT with the adapter on the base model. For an
            adapter of QLoRA the base model of PEFT has in its linear layers what their NF4 codes of bitsandbytes stand for.
gguf-lora   the gguf package reads the file; names, shapes, values and alpha are those that llama.cpp's
            convert_lora_to_gguf.py writes: names from the package's own table, rows of B permuted as in
            LlamaModel.permute where the architecture wants it.
plain-lora  PEFT loads the folder; what it adds is the closest of its rank by numpy's singular values.
Exit code 0 if all agree.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import gguf_to_hf
import numpy as np
import torch
from make_families import dequantised
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "tests/fixtures"
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma3")
GGUF_FAMILIES = ("qwen2", "qwen3", "gemma3")
METHODS = ("lora", "dora", "qlora")
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEXTS = ["Die Frist beträgt einen Monat, § 70 Abs. 1 VwGO.", "The court dismissed the appeal of 3 October 1990."]
# Of the largest logit: what another order of summation in f32 makes.
LIMIT = 2e-5

problems: list[str] = []


def expect(right: bool, text: str) -> None:
    if not right:
        problems.append(text)
        print(f"check_export: {text}", file=sys.stderr)


def export(worker: pathlib.Path, base: pathlib.Path, adapter: pathlib.Path, out: pathlib.Path, *options: str) -> dict:
    """Runs `gpu-worker export` and returns its report."""
    command = [worker, "export", "--base-model", base, "--adapter", adapter, "--out", out, *options]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "export.json").read_text(encoding="utf-8"))


def fixture_adapter(family: str, method: str, folder: pathlib.Path) -> None:
    """The adapter of the fixtures as PEFT would save it."""
    folder.mkdir()
    prefix = f"{method}.init."
    tensors = load_file(FIXTURES / f"families/{family}.safetensors")
    tensors = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": TARGETS}
    config |= {"use_dora": method == "dora", "inference_mode": True, "base_model_name_or_path": family}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def peft_model(base: pathlib.Path, adapter: pathlib.Path, nf4: bool) -> PeftModel:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if nf4:
        for name, module in model.named_modules():
            if name.rsplit(".", 1)[-1] in TARGETS:
                module.weight.data = dequantised(module.weight.data)
    return PeftModel.from_pretrained(model, adapter).eval()


def logits(model, tokens: list[list[int]]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(torch.tensor([ids])).logits[0] for ids in tokens])


def check_merged(label: str, expected: torch.Tensor, bare: torch.Tensor, folder: pathlib.Path, tokens: list[list[int]], limit: float) -> None:
    """The folder by itself in transformers: logits, tokenizer, files."""
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    expect(not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), f"{label}: {report}")
    wanted = json.loads((folder / "export.json").read_text())["dtype"]
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[wanted]
    expect(model.dtype == dtype, f"{label}: loaded as {model.dtype}, expected {dtype}")
    with safe_open(next(folder.glob("model*.safetensors")), "pt") as file:
        expect(file.metadata() == {"format": "pt"}, f"{label}: metadata {file.metadata()}")
    found = logits(model.float().eval(), tokens)
    difference, scale = (found - expected).abs().max().item(), expected.abs().max().item()
    moved = (expected - bare).abs().max().item()
    same = (found.argmax(-1) == expected.argmax(-1)).float().mean().item()
    print(f"{label}: logits differ by {difference:.2e} at most (largest {scale:.1f}, the adapter moves them by {moved:.2f}), same top token {same:.1%}")
    expect(difference <= limit * max(scale, 1.0), f"{label}: logits differ by {difference:.2e}, allowed {limit * max(scale, 1.0):.1e}")
    expect(moved > 100 * LIMIT, f"{label}: the adapter moves nothing, agreement says nothing")
    read = AutoTokenizer.from_pretrained(folder)
    ids = [read.encode(text)[: len(row)] for text, row in zip(TEXTS, tokens)]
    expect(ids == tokens, f"{label}: the tokenizer reads {ids}, expected {tokens}")


def permuted(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """As LlamaModel.permute of llama.cpp's converter, for the rows of B."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def check_gguf(label: str, base: pathlib.Path, adapter: pathlib.Path, file: pathlib.Path) -> None:
    """The file as the gguf package reads it, beside what llama.cpp's converter makes of the adapter."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    architecture = {"mistral": "llama", "gemma3_text": "gemma3"}.get(config["model_type"], config["model_type"])
    reader = gguf.GGUFReader(file)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    alpha = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["lora_alpha"]
    wanted = {"general.architecture": architecture, "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": float(alpha)}
    for name, value in wanted.items():
        expect(fields.get(name) == value, f"{label}: {name} is {fields.get(name)!r}, expected {value!r}")
    number = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(number, config["num_hidden_layers"])
    expected = {}
    for name, tensor in load_file(adapter / "adapter_model.safetensors").items():
        path, side, _ = name.removeprefix("base_model.model.").rsplit(".", 2)
        interleaved = architecture == "llama" and side == "lora_B"
        if interleaved and path.endswith("q_proj"):
            tensor = permuted(tensor, config["num_attention_heads"])
        elif interleaved and path.endswith("k_proj"):
            tensor = permuted(tensor, config["num_key_value_heads"])
        expected[f"{names.get_name(path)}.weight.{side.lower()}"] = tensor.float().numpy()
    found = {tensor.name: tensor for tensor in reader.tensors}
    expect(found.keys() == expected.keys(), f"{label}: tensors {sorted(found.keys() ^ expected.keys())} on one side only")
    for name in found.keys() & expected.keys():
        tensor = found[name]
        shape = [int(size) for size in reversed(tensor.shape)]
        expect(shape == list(expected[name].shape), f"{label}: {name} has shape {shape}, expected {expected[name].shape}")
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        expect(np.array_equal(values, expected[name]), f"{label}: {name} has other values")
    print(f"{label}: {len(found)} tensors, names, shapes and values are those of llama.cpp's converter")


def updates(model: PeftModel) -> dict[str, torch.Tensor]:
    """What the adapter adds to each weight, by merging in PEFT."""
    before = {name: module.base_layer.weight.data.clone() for name, module in model.named_modules() if hasattr(module, "base_layer")}
    model.merge_adapter()
    after = {name: module.base_layer.weight.data for name, module in model.named_modules() if hasattr(module, "base_layer")}
    return {name: after[name] - before[name] for name in before}


def check_plain(label: str, base: pathlib.Path, adapter: pathlib.Path, folder: pathlib.Path, report: dict) -> None:
    """The plain adapter beside the best that there is of its rank."""
    given, met = updates(peft_model(base, adapter, False)), updates(peft_model(base, folder, False))
    worst, rank = 0.0, report["rank"]
    for name, update in given.items():
        strengths = torch.linalg.svdvals(update.double())
        best = strengths[rank:].square().sum().sqrt().item()
        off = (met[name] - update).double().norm().item()
        worst = max(worst, off / max(best, 1e-6 * strengths[0].item()))
    squares = [((met[name] - update).double().square().sum().item(), update.double().square().sum().item()) for name, update in given.items()]
    error = (sum(off for off, _ in squares) / sum(given for _, given in squares)) ** 0.5
    print(f"{label}: rank {rank}, error {error:.4f} (reported {report['approximation_error']:.4f}), at most {worst:.4f} times the smallest possible")
    expect(abs(error - report["approximation_error"]) <= 1e-3 * error + 1e-6, f"{label}: error is {error}, reported {report['approximation_error']}")
    expect(worst <= 1.02, f"{label}: an update is {worst:.3f} times as far off as the best of its rank")


def check(label: str, worker: pathlib.Path, base: pathlib.Path, reference: pathlib.Path, adapter: pathlib.Path, method: str, work: pathlib.Path) -> None:
    """All forms of one adapter; `reference` is the base model as a Hugging Face folder, which PEFT takes."""
    nf4 = method == "qlora"
    precision = ["--precision", "nf4"] if nf4 else []
    export(worker, base, adapter, work / "merged", "--to", "merged", *precision)
    export(worker, base, adapter, work / "merged-bf16", "--to", "merged", "--dtype", "bf16", *precision)
    model = peft_model(reference, adapter, nf4)
    # A GGUF file of the fixtures may hold another vocabulary than the folder.
    tokenizer = AutoTokenizer.from_pretrained(work / "merged" if base.is_file() else reference)
    tokens = [tokenizer.encode(text)[:64] for text in TEXTS]
    expected = logits(model, tokens)
    with model.disable_adapter():
        bare = logits(model, tokens)
    check_merged(f"{label} merged", expected, bare, work / "merged", tokens, LIMIT)
    check_merged(f"{label} merged in bf16", expected, bare, work / "merged-bf16", tokens, 0.1)
    if method == "dora":
        report = export(worker, base, adapter, work / "plain", "--to", "plain-lora")
        check_plain(f"{label} plain", reference, adapter, work / "plain", report)
        adapter = work / "plain"
    export(worker, base, adapter, work / "gguf", "--to", "gguf-lora", *precision)
    check_gguf(f"{label} gguf-lora", reference, adapter, work / "gguf/adapter.gguf")


def gguf_reference(family: str, folder: pathlib.Path) -> pathlib.Path:
    """The folder of what the family's GGUF file holds: that of Gemma cannot say all that the fixture's config does."""
    base = FIXTURES / "families" / family
    if family != "gemma3":
        return base
    shutil.copytree(base, folder)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config |= {"query_pre_attn_scalar": config["head_dim"], "layer_types": ["sliding_attention"] * config["num_hidden_layers"]}
    config["rope_parameters"]["full_attention"] = {"rope_type": "default", "rope_theta": 1e6}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu-worker", type=pathlib.Path, default=HERE.parents[1] / "target/debug/gpu-worker")
    parser.add_argument("--base", type=pathlib.Path, help="GGUF file or Hugging Face folder")
    parser.add_argument("--adapter", type=pathlib.Path, help="PEFT folder of an adapter on that base")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(os.cpu_count() or 1)
    if arguments.base:
        reference = arguments.base
        if reference.is_file():
            reference = HERE.parents[1] / ".models" / f"{arguments.base.stem}-f32"
            gguf_to_hf.convert(arguments.base, reference)
        config = json.loads((arguments.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        method = "dora" if config.get("use_dora") else "lora"
        with tempfile.TemporaryDirectory() as work:
            check(arguments.base.stem, arguments.gpu_worker, arguments.base, reference, arguments.adapter, method, pathlib.Path(work))
    else:
        cases = [(family, method, False) for family in FAMILIES for method in METHODS]
        cases += [(family, method, True) for family in GGUF_FAMILIES for method in ("lora", "dora")]
        for family, method, from_gguf in cases:
            with tempfile.TemporaryDirectory() as work:
                folder = pathlib.Path(work)
                fixture_adapter(family, method, folder / "adapter")
                base = reference = FIXTURES / "families" / family
                if from_gguf:
                    base, reference = base.with_suffix(".gguf"), gguf_reference(family, folder / "reference")
                label = f"{family}{'.gguf' if from_gguf else ''} {method}"
                check(label, arguments.gpu_worker, base, reference, folder / "adapter", method, folder)
    print("exports are what they should be" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
