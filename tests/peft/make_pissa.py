#!/usr/bin/env python3
"""Makes tests/fixtures/families/llama-pissa.safetensors: twenty steps of PEFT's PiSSA on the Llama model of tests/fixtures/families.

  .venv/bin/python tests/peft/make_pissa.py

Signs and order of singular vectors are free, so what is stored does not depend on them: the losses, and for each layer
what the adapter changes of the weight, `s*(B*A - B0*A0)`, after the last step.
"""

import pathlib

import torch
from make_families import documents, mean_loss, optimizer_of, trainable
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

RANK, ALPHA, STEPS = 4, 8, 20
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def products(model) -> dict[str, torch.Tensor]:
    """`s*B*A` of each layer, by the name of its weight."""
    found = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            product = module.lora_B["default"].weight @ module.lora_A["default"].weight
            found[name.removeprefix("base_model.model.") + ".weight"] = (product * ALPHA / RANK).detach().clone()
    return found


def main() -> None:
    fixtures = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    torch.set_num_threads(1)
    oracle = load_file(fixtures / "families" / "llama.safetensors")
    tokens, labels = oracle["tokens"], oracle["labels"]
    folder = fixtures / "families" / "llama"
    base = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, task_type="CAUSAL_LM", init_lora_weights="pissa"
    )
    # PEFT decomposes weights in f32 only; everything after that is in f64.
    model = get_peft_model(base, config, autocast_adapter_dtype=False).double()
    begun = products(model)
    optimizer = optimizer_of(model, "lora")
    parameters = list(trainable(model).values())
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss = mean_loss(model, tokens, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], losses
    stored = {f"delta.{name}": (value - begun[name]).float() for name, value in products(model).items()}
    stored |= {f"begun.{name}": value.float() for name, value in begun.items()}
    stored["losses"] = torch.tensor(losses, dtype=torch.float32)
    stored |= {"tokens": tokens, "labels": labels}
    path = fixtures / "families" / "llama-pissa.safetensors"
    save_file({name: value.contiguous() for name, value in stored.items()}, path)
    path.chmod(0o644)
    print(losses[0], losses[-1])


if __name__ == "__main__":
    main()
