#!/usr/bin/env python3
"""Makes tests/fixtures/families: what transformers and PEFT compute on a tiny random model of each family.

  .venv/bin/python tests/peft/make_families.py [FIXTURES [FAMILY ...]]

For each family a Hugging Face folder (with the tokenizer of tiny-llama, which make_tiny.py makes), and in
`FAMILY.safetensors` the logits of the model and, for each method, an adapter, the loss and all gradients on two packed
documents, and the adapter after twenty AdamW steps. Everything is computed in f64 and stored in f32, so that rounding
here adds nothing to the differences. The README.md beside the folders says what each tensor is.
"""

import json
import pathlib
import shutil
import sys

import torch
from bitsandbytes.functional import quantize_4bit
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.utils import logging

SEED = 20261125
VOCAB, LENGTHS = 320, (23, 12)
STEPS, RATE, DECAY = 20, 1e-3, 0.01
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
METHODS = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "loraplus": {},
    "qlora": {},
}
LORAPLUS_RATIO = 4.0


def gemma3(**options) -> Gemma3ForCausalLM:
    return Gemma3ForCausalLM(Gemma3TextConfig(
        **SHAPE,
        head_dim=16,
        query_pre_attn_scalar=24,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000000.0},
        },
        **options,
    ))


def models() -> dict:
    """A tiny model of each family; windows shorter than the documents, and a cap within the logits, so that they count."""
    return {
        "llama": LlamaForCausalLM(LlamaConfig(**SHAPE, rope_parameters={
            "rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0,
        })),
        "mistral": MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=7)),
        "qwen2": Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=True)),
        "qwen3": Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=16)),
        "gemma3": gemma3(),
        "gemma3-capped": gemma3(final_logit_softcapping=4.0),
    }


def randomise(model: torch.nn.Module) -> None:
    """Weights wide enough that every layer shows in every logit and gradient."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif name.endswith(".bias"):
                parameter.copy_(0.3 * torch.randn_like(parameter))
            elif "embed_tokens" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.5)
            else:
                parameter.copy_(torch.randn_like(parameter) / parameter.shape[1] ** 0.5)


def documents() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of two packed documents, and labels: the token that follows, or -100."""
    tokens = torch.randint(3, VOCAB, (sum(LENGTHS),))
    labels = torch.cat([tokens[1:], torch.tensor([-100])])
    labels[LENGTHS[0] - 1] = -100
    # A question without labels.
    labels[:5] = -100
    return tokens, labels


def logits_of(model, tokens: torch.Tensor) -> torch.Tensor:
    """Each document by itself."""
    return torch.cat([model(input_ids=part[None]).logits[0] for part in tokens.split(LENGTHS)])


def mean_loss(model, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits_of(model, tokens), labels, ignore_index=-100)


def dequantised(weight: torch.Tensor) -> torch.Tensor:
    """What the NF4 codes of a weight stand for.

    The codes are the library's own. Its scales are not used: its kernel for the CPU takes the second nearest of the 256
    codes about once in a thousand, the mean depends on the order of its sum, and it reads rows shorter than a block wrongly.
    """
    packed, state = quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    nibbles = torch.stack([packed.flatten() >> 4, packed.flatten() & 15], 1).flatten().long()
    scales = weight.view(-1, 64).abs().amax(1)
    offset = scales.double().mean().float()
    parts = []
    for block in (scales - offset).split(256):
        nested = block.abs().max()
        nearest = (block[:, None] / nested - state.state2.code[None]).abs().argmin(1)
        parts.append(state.state2.code[nearest] * nested + offset)
    return (state.code[nibbles].view(-1, 64) * torch.cat(parts)[:, None]).view_as(weight)


def quantise(model) -> None:
    """Replaces every linear layer of the blocks by what its NF4 codes stand for."""
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in TARGETS:
            weight = module.weight.detach().float().contiguous()
            with torch.no_grad():
                module.weight.copy_(dequantised(weight).to(module.weight.dtype))


def adapted(model, method: str):
    """B is random, or else the gradients of A would be zero."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM", **METHODS[method])
    adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.1)
            elif "lora_magnitude_vector" in name:
                parameter.mul_(1.0 + 0.1 * torch.rand_like(parameter))
    return adapted


def trainable(model) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters under the names that PEFT writes to disk."""
    def disk_name(name: str) -> str:
        return name.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")

    return {disk_name(name): parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def optimizer_of(model, method: str) -> torch.optim.Optimizer:
    parameters = trainable(model)
    ratio = LORAPLUS_RATIO if method == "loraplus" else 1.0
    fast = [parameter for name, parameter in parameters.items() if "lora_A" not in name]
    slow = [parameter for name, parameter in parameters.items() if "lora_A" in name]
    groups = [{"params": slow, "lr": RATE}, {"params": fast, "lr": RATE * ratio}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, weight_decay=DECAY)


def snapshot(values: dict, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value.detach().float().clone().contiguous() for name, value in values.items()}


def method_oracle(model, method: str, tokens: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Adapter, loss, gradients, and the adapter after the steps."""
    if method == "qlora":
        quantise(model)
    model = adapted(model, method)
    parameters = trainable(model)
    oracle = snapshot(parameters, f"{method}.init.")
    optimizer = optimizer_of(model, method)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss = mean_loss(model, tokens, labels)
        loss.backward()
        if step == 0:
            gradients = {name: parameter.grad for name, parameter in parameters.items()}
            assert all(gradient.abs().max() > 1e-6 for gradient in gradients.values()), "a gradient is zero"
            oracle |= snapshot(gradients, f"{method}.grad.")
            oracle[f"{method}.logits"] = logits_of(model, tokens).detach().float()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimizer.step()
        losses.append(loss.item())
    oracle[f"{method}.losses"] = torch.tensor(losses, dtype=torch.float32)
    return oracle | snapshot(parameters, f"{method}.final.")


def main() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    fixtures = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root
    target = fixtures / "families"
    target.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    every = models()
    wanted = sys.argv[2:] or list(every)
    if unknown := sorted(set(wanted) - set(every)):
        sys.exit(f"make_families: no family {', '.join(unknown)}; there are {', '.join(every)}")
    for family in wanted:
        model = every[family]
        torch.manual_seed(SEED)
        randomise(model)
        folder = target / family
        model.float().save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(fixtures / "tiny-llama" / name, folder / name)
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "model.safetensors").chmod(0o644)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        tokens, labels = documents()
        oracle = {"tokens": tokens, "labels": labels}
        for method in METHODS:
            base = type(model).from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
            with torch.no_grad():
                oracle.setdefault("logits", logits_of(base, tokens).float())
            oracle |= method_oracle(base, method, tokens, labels)
        path = target / f"{family}.safetensors"
        save_file(oracle, path)
        path.chmod(0o644)


if __name__ == "__main__":
    main()
