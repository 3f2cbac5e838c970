#!/usr/bin/env python3
"""Makes tests/fixtures/peft-tiny: what PyTorch + PEFT compute on the tiny Llama, for tests that run without Python.

  .venv/bin/python tests/peft/make_fixture.py [FIXTURES]

Needs tests/fixtures/tiny-llama (make_tiny.py). The README.md in the folder says what the files hold.
"""

import json
import pathlib
import platform
import sys

import peft
import safetensors
import torch
import transformers
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

SEED = 7
IGNORED = -100
SETTINGS = {
    "seed": SEED,
    "rank": 4,
    "alpha": 8.0,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "steps": 10,
    "learning_rate": 1e-3,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "schedule": "constant",
    "reduction": "mean over the labelled tokens",
}

PROMPT = "Frage: Wann ist der Widerspruch zu erheben?\n"
ANSWER = "Innerhalb eines Monats nach Bekanntgabe (§ 70 VwGO).<|im_end|>"
SECOND = "Die Baugenehmigung ist zu erteilen.<|im_end|>"


def one_sequence(tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """A question without labels, an answer with labels, and one unlabelled token inside the answer."""
    prompt = tokenizer.encode(PROMPT, add_special_tokens=False)
    answer = tokenizer.encode(ANSWER, add_special_tokens=False)
    labels = [IGNORED] * len(prompt) + answer
    labels[len(prompt) + 5] = IGNORED
    return torch.tensor([prompt + answer]), torch.tensor([labels])


def add_adapter(base):
    """LoRA on all seven linear layers; B is random, or else the gradients of A would be zero."""
    torch.manual_seed(SEED)
    config = LoraConfig(
        r=SETTINGS["rank"],
        lora_alpha=int(SETTINGS["alpha"]),
        lora_dropout=0.0,
        target_modules=SETTINGS["target_modules"],
        bias="none",
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.1)
    return model


def trainable(model) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters under the names that PEFT writes to disk."""
    return {
        name.replace(".default", ""): parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def summed_loss(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Sum of negative log-likelihoods; position t answers for the label of position t + 1."""
    targets = labels[0, 1:]
    loss = torch.nn.functional.cross_entropy(logits[0, :-1], targets, ignore_index=IGNORED, reduction="sum")
    return loss, int((targets != IGNORED).sum())


def gradients(model, documents) -> tuple[dict[str, torch.Tensor], list[torch.Tensor], float]:
    """Gradients of the mean loss over all labelled tokens of the documents, each attended to alone."""
    model.zero_grad(set_to_none=True)
    outputs = [model(input_ids=ids).logits for ids, _ in documents]
    sums = [summed_loss(logits, labels) for logits, (_, labels) in zip(outputs, documents, strict=True)]
    loss = sum(part for part, _ in sums) / sum(count for _, count in sums)
    loss.backward()
    grads = {name: parameter.grad.clone() for name, parameter in trainable(model).items()}
    for name, grad in grads.items():
        assert grad.abs().max() > 1e-6, f"{name} has no gradient"
    return grads, [logits[0].detach() for logits in outputs], loss.item()


def train(model, ids: torch.Tensor, labels: torch.Tensor) -> tuple[list[float], list[float]]:
    """Ten AdamW steps on the same sequence: losses before each step, and gradient norms before clipping."""
    parameters = list(trainable(model).values())
    optimizer = torch.optim.AdamW(
        parameters,
        lr=SETTINGS["learning_rate"],
        betas=tuple(SETTINGS["betas"]),
        eps=SETTINGS["eps"],
        weight_decay=SETTINGS["weight_decay"],
    )
    losses, norms = [], []
    for _ in range(SETTINGS["steps"]):
        optimizer.zero_grad(set_to_none=True)
        # transformers' own loss: shifts the labels itself and takes the mean over the labelled tokens.
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, SETTINGS["max_grad_norm"]).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def save_adapter(model, folder: pathlib.Path) -> None:
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    # The base model's path differs from machine to machine.
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = "tiny-llama"
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "adapter_model.safetensors").chmod(0o644)


def main() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    fixtures = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root
    target = fixtures / "peft-tiny"
    target.mkdir(parents=True, exist_ok=True)
    # One thread: sums in one order, hence the same fixture each time.
    torch.set_num_threads(1)
    logging.disable_progress_bar()

    tokenizer = AutoTokenizer.from_pretrained(fixtures / "tiny-llama")
    base = AutoModelForCausalLM.from_pretrained(
        fixtures / "tiny-llama", dtype=torch.float32, attn_implementation="eager"
    )
    ids, labels = one_sequence(tokenizer)
    second = torch.tensor([tokenizer.encode(SECOND, add_special_tokens=False)])
    # Nothing comes before a document's first token, so its label is never asked for.
    second_labels = second.clone()
    second_labels[0, 0] = IGNORED
    with torch.no_grad():
        base_logits = base(ids).logits[0].clone()

    model = add_adapter(base)
    save_adapter(model, target / "init")
    grads, (logits,), loss = gradients(model, [(ids, labels)])
    packed_grads, packed_logits, packed_loss = gradients(model, [(ids, labels), (second, second_labels)])
    losses, norms = train(model, ids, labels)
    assert abs(losses[0] - loss) < 1e-5, (losses[0], loss)
    save_adapter(model, target / "final")
    final = get_peft_model_state_dict(model, save_embedding_layers=False)
    assert set(final) == set(grads)

    oracle = {
        "input_ids": ids[0],
        "labels": labels[0],
        "base_logits": base_logits,
        "logits": logits,
        "losses": torch.tensor(losses),
        "grad_norms": torch.tensor(norms),
        "packed.input_ids": torch.cat([ids[0], second[0]]),
        "packed.labels": torch.cat([labels[0], second_labels[0]]),
        "packed.logits": torch.cat(packed_logits),
        "packed.loss": torch.tensor([packed_loss]),
    }
    oracle |= {f"grad.{name}": grad for name, grad in grads.items()}
    oracle |= {f"packed.grad.{name}": grad for name, grad in packed_grads.items()}
    save_file(oracle, target / "oracle.safetensors")
    (target / "oracle.safetensors").chmod(0o644)
    facts = {
        **SETTINGS,
        "tokens": ids.shape[1],
        "target_tokens": int((labels[0, 1:] != IGNORED).sum()),
        "loss": loss,
        "losses": losses,
        "grad_norms": norms,
        "packed_documents": [[0, ids.shape[1]], [ids.shape[1], ids.shape[1] + second.shape[1]]],
        "packed_loss": packed_loss,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            "safetensors": safetensors.__version__,
        },
    }
    (target / "oracle.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
