#!/usr/bin/env python3
"""Times LoRA training steps of PyTorch + PEFT on a GPU, to stand beside our own engine.

  python3 tests/peft/gpu_step.py --model llama-3.1-8b --sequence 2048 4096 --micro-batch 4 2 1 --compile no layers
  python3 tests/peft/gpu_step.py --model FOLDER --tokens tokens.u32 --sequence 1024 --micro-batch 4 --steps 200 --losses

bf16 base, LoRA on all seven linear layers, rank 16, alpha 32, no dropout, attention by SDPA's flash kernel and no other (`--attention`), loss
over all tokens, clipping to 1.0, fused AdamW. A step is one micro-batch; each of its rows is one document of full length, so no row is padded
and none needs a mask. Row j of step i (from 0) is row i * micro_batch + j of the tokens, from the start again at their end.

Adapters are f32 and steps run under autocast to bf16, as PEFT (autocast_adapter_dtype) and transformers' Trainer (bf16) do unless told
otherwise; `--adapter-dtype bf16` keeps adapters and moments in bf16 instead. `--compile layers` compiles each block and the loss,
`--compile model` all in one. Of several micro-batches the first that fits into memory is measured.

One JSON line per result. `mfu` counts 4 N operations per token (N: weights of linear layers and head) over `--peak-tflops`.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

os.environ["HF_HUB_OFFLINE"] = "1"
# Blocks that grow: PEFT then fits larger micro-batches.
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AutoModelForCausalLM, LlamaConfig, Qwen2Config
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.utils import logging

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def shape(config: type, sizes: tuple[int, ...], rope: dict, **more):
    hidden, inner, layers, heads, key_value_heads, head_dim, vocab, positions = sizes
    return config(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        head_dim=head_dim,
        vocab_size=vocab,
        max_position_embeddings=positions,
        rope_parameters=rope,
        **more,
    )


def default_rope(theta: float) -> dict:
    return {"rope_type": "default", "rope_theta": theta}


SHAPES = {
    "smollm2-135m": lambda: shape(
        LlamaConfig,
        (576, 1536, 30, 9, 3, 64, 49152, 8192),
        default_rope(100000.0),
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    ),
    "llama-3.1-8b": lambda: shape(
        LlamaConfig,
        (4096, 14336, 32, 32, 8, 128, 128256, 131072),
        LLAMA3_ROPE,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    ),
    "qwen2.5-7b": lambda: shape(
        Qwen2Config,
        (3584, 18944, 28, 28, 4, 128, 152064, 131072),
        default_rope(1000000.0),
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    ),
    "tiny": lambda: shape(
        LlamaConfig,
        (64, 128, 4, 4, 2, 16, 256, 512),
        default_rope(10000.0),
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    ),
}


def report(**fields) -> None:
    print(json.dumps(fields), flush=True)


@dataclass
class Setting:
    """One thing to measure."""

    sequence: int
    micro_batch: int
    compiled: str


class Trainer:
    """A base model with an adapter that can be trained from its first state again and again."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.device = torch.device(arguments.device)
        self.model = with_adapter(load_base(arguments, self.device), arguments)
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.first_state = [parameter.detach().clone() for parameter in self.parameters]
        self.call = self.model
        self.plain_loss = self.causal_lm.loss_function
        self.last_measured: tuple[str, torch.Tensor] | None = None
        if arguments.gradient_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.restart()

    @property
    def causal_lm(self) -> torch.nn.Module:
        return self.model.get_base_model()

    @property
    def vocab(self) -> int:
        return self.causal_lm.config.vocab_size

    @property
    def engine(self) -> str:
        return "peft" + ("-bf16" if self.arguments.adapter_dtype == "bf16" else "")

    @property
    def autocast(self) -> bool:
        return self.arguments.base_dtype == "bf16" and self.arguments.adapter_dtype == "f32"

    def linear_weights(self) -> int:
        """Weights of all frozen linear layers and of the head, tied or not."""
        modules = self.causal_lm.named_modules()
        return sum(module.weight.numel() for _, module in modules if type(module) is torch.nn.Linear and not is_adapter(module))

    def compile(self, what: str) -> None:
        """`layers`, `model` or `no`."""
        torch._dynamo.reset()
        self.call = torch.compile(self.model, dynamic=False) if what == "model" else self.model
        for layer in self.causal_lm.model.layers:
            layer._compiled_call_impl = None
            if what == "layers":
                layer.compile(dynamic=False)
        compiled_loss = torch.compile(self.plain_loss, dynamic=False)
        self.causal_lm.loss_function = compiled_loss if what == "layers" else self.plain_loss

    def restart(self) -> None:
        with torch.no_grad():
            for parameter, first in zip(self.parameters, self.first_state, strict=True):
                parameter.copy_(first)
                parameter.grad = None
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.arguments.learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=True
        )

    def step(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and gradient norm before clipping, left on the device: reading them here would hold up the next step."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            loss = self.call(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach(), norm.detach()


def is_adapter(module: torch.nn.Module) -> bool:
    return module.weight.requires_grad


def load_base(arguments: argparse.Namespace, device: torch.device) -> torch.nn.Module:
    # Under a name of its own SDPA gets no mask from transformers, which would look at positions on the device in each step.
    AttentionInterface.register("sdpa_causal", sdpa_attention_forward)
    dtype = DTYPES[arguments.base_dtype]
    if arguments.model in SHAPES:
        with torch.device(device):
            config = SHAPES[arguments.model]()
            return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa_causal")
    folder = pathlib.Path(arguments.model)
    if not folder.is_dir():
        raise SystemExit(f"gpu_step: {folder} is neither a folder nor one of {', '.join(SHAPES)}")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa_causal")
    return model.to(device)


def with_adapter(base: torch.nn.Module, arguments: argparse.Namespace) -> torch.nn.Module:
    casts = arguments.adapter_dtype == "f32"
    if arguments.init_adapter:
        model = PeftModel.from_pretrained(base, arguments.init_adapter, is_trainable=True, autocast_adapter_dtype=casts)
    else:
        config = LoraConfig(r=arguments.rank, lora_alpha=32, lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM")
        model = get_peft_model(base, config, autocast_adapter_dtype=casts)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != DTYPES[arguments.adapter_dtype]:
            parameter.data = parameter.data.to(DTYPES[arguments.adapter_dtype])
    if arguments.write_init:
        model.save_pretrained(arguments.write_init)
    return model.train()


def token_rows(arguments: argparse.Namespace, vocab: int, sequence: int, device: torch.device) -> torch.Tensor:
    """Rows of `sequence` tokens; random ones are the same in every setting with as long rows."""
    if arguments.tokens is None:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(vocab, (64, sequence), generator=generator).to(device)
    tokens = torch.frombuffer(bytearray(arguments.tokens.read_bytes()), dtype=torch.int32).long()
    rows = len(tokens) // sequence
    if rows == 0 or int(tokens.max()) >= vocab or int(tokens.min()) < 0:
        raise SystemExit(
            f"gpu_step: {arguments.tokens} holds {len(tokens)} tokens from {tokens.min()} to {tokens.max()}; "
            f"expected {sequence} or more, each below {vocab}"
        )
    return tokens[: rows * sequence].view(rows, sequence).to(device)


def batches(rows: torch.Tensor, micro_batch: int) -> Iterator[torch.Tensor]:
    first = 0
    while True:
        yield rows[[row % len(rows) for row in range(first, first + micro_batch)]]
        first += micro_batch


class Clock:
    """Seconds between marks on the device's own clock; on the CPU the host's."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"
        self.marks = []

    def mark(self) -> None:
        if not self.cuda:
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append(event)

    def seconds(self) -> list[float]:
        pairs = list(zip(self.marks, self.marks[1:], strict=False))
        if not self.cuda:
            return [end - start for start, end in pairs]
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1e3 for start, end in pairs]


def attention_choice(arguments: argparse.Namespace) -> contextlib.AbstractContextManager:
    """Another kernel than the one asked for is an error, not a slower run."""
    if arguments.attention == "any":
        return contextlib.nullcontext()
    return sdpa_kernel([BACKENDS[arguments.attention]])


def measure(trainer: Trainer, setting: Setting) -> None:
    arguments = trainer.arguments
    trainer.restart()
    rows = token_rows(arguments, trainer.vocab, setting.sequence, trainer.device)
    feed = batches(rows, setting.micro_batch)
    started = time.perf_counter()
    results = []
    for _ in range(arguments.warmup):
        results.append(trainer.step(next(feed)))
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    warm_up_seconds = time.perf_counter() - started
    clock = Clock(trainer.device)
    clock.mark()
    for _ in range(arguments.steps):
        results.append(trainer.step(next(feed)))
        clock.mark()
    seconds = clock.seconds()
    losses = [loss.item() for loss, _ in results]
    norms = [norm.item() for _, norm in results]
    engine = trainer.engine + {"no": "", "layers": "-compile", "model": "-compile-model"}[setting.compiled]
    if arguments.losses:
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
            report(what="loss", engine=engine, model=model_name(arguments), step=step, loss=loss, grad_norm=norm)
    rate = setting.sequence * setting.micro_batch / statistics.median(seconds)
    weights = trainer.linear_weights()
    report(
        what="train",
        engine=engine,
        model=model_name(arguments),
        sequence=setting.sequence,
        micro_batch=setting.micro_batch,
        tokens_per_second=rate,
        step_seconds=statistics.median(seconds),
        step_seconds_range=[min(seconds), max(seconds)],
        mfu=4 * weights * rate / (arguments.peak_tflops * 1e12),
        model_tflops=4 * weights * rate / 1e12,
        linear_weights=weights,
        trained_parameters=sum(parameter.numel() for parameter in trainer.parameters),
        adapter_dtype=arguments.adapter_dtype,
        base_dtype=arguments.base_dtype,
        autocast=trainer.autocast,
        attention=arguments.attention,
        gradient_checkpointing=arguments.gradient_checkpointing,
        compiled=setting.compiled,
        steps=arguments.steps,
        warm_up_seconds=warm_up_seconds,
        grad_norm=norms[-1],
        **memory(trainer.device),
        losses=[round(loss, 5) for loss in losses] if len(losses) <= 32 else [round(losses[0], 5), round(losses[-1], 5)],
    )
    if not all(0 < norm < float("inf") for norm in norms):
        raise SystemExit(f"gpu_step: gradient norms {norms}; expected each above 0 and finite")
    trainer.last_measured = (engine, next(feed))


def memory(device: torch.device) -> dict:
    if device.type != "cuda":
        return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    free, total = torch.cuda.mem_get_info()
    return {
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "peak_reserved_bytes": torch.cuda.max_memory_reserved(),
        "device_used_bytes": total - free,
    }


def model_name(arguments: argparse.Namespace) -> str:
    """A folder may be called as its shape, so that both engines' lines meet in the table."""
    return arguments.model_name or pathlib.Path(arguments.model).name


KINDS = [
    ("attention", r"flash|fmha|sdpa|attention"),
    ("matrix products", r"gemm|cutlass|nvjet|xmma|cublas|splitk|aten::mm|aten::addmm|aten::bmm|mkldnn"),
    ("optimiser", r"adam|multi_tensor|lpnorm"),
    ("softmax and loss", r"softmax|nll"),
    ("compiled", r"triton"),
    ("copies", r"memcpy|memset|copy|fill"),
]


def profile(trainer: Trainer) -> None:
    """One more step as the last one measured, by kind of kernel. Last of all, since a profiler can slow down what follows."""
    if trainer.last_measured is None:
        return
    engine, ids = trainer.last_measured
    cuda = trainer.device.type == "cuda"
    activity = torch.profiler.ProfilerActivity.CUDA if cuda else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as recorded:
        trainer.step(ids)
        if cuda:
            torch.cuda.synchronize()
    milliseconds, attention, launches = {}, set(), 0
    for event in recorded.key_averages():
        spent = (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e3
        if spent == 0:
            continue
        kind = next((kind for kind, pattern in KINDS if re.search(pattern, event.key.lower())), "other")
        milliseconds[kind] = round(milliseconds.get(kind, 0) + spent, 3)
        launches += event.count
        if kind == "attention":
            attention.add(event.key[:120])
    report(
        what="profile",
        engine=engine,
        model=model_name(trainer.arguments),
        milliseconds=milliseconds,
        launches=launches,
        attention_kernels=sorted(attention),
    )


def measure_first_that_fits(trainer: Trainer, sequence: int, compiled: str) -> None:
    for micro_batch in trainer.arguments.micro_batch:
        try:
            return measure(trainer, Setting(sequence, micro_batch, compiled))
        except RuntimeError as error:
            full = isinstance(error, torch.OutOfMemoryError)
            report(
                what="refused",
                engine=trainer.engine,
                model=model_name(trainer.arguments),
                sequence=sequence,
                micro_batch=micro_batch,
                compiled=compiled,
                reason="out of memory" if full else str(error).strip()[:500],
            )
        # Outside of the handler, whose exception would keep the activations.
        trainer.restart()
        if trainer.device.type == "cuda":
            torch.cuda.empty_cache()
        if not full:
            return None


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=f"Hugging Face folder, or random weights of {', '.join(SHAPES)}")
    parser.add_argument("--model-name", help="how the results call the model (default: last part of --model)")
    parser.add_argument("--sequence", type=int, nargs="+", default=[2048], help="tokens of a row; each is measured")
    parser.add_argument("--micro-batch", type=int, nargs="+", default=[1], help="rows of a step; the first that fits is measured")
    parser.add_argument("--compile", nargs="*", choices=["no", "layers", "model"], help="each is measured; alone: layers")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=3, help="steps before the measured ones")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tokens", type=pathlib.Path, help="u32 tokens, little-endian, without a header (default: random)")
    parser.add_argument("--init-adapter", type=pathlib.Path, help="PEFT folder to start from")
    parser.add_argument("--write-init", type=pathlib.Path, help="where to save the adapter before the first step")
    parser.add_argument("--losses", action="store_true", help="also one line per step")
    parser.add_argument("--profile", action="store_true", help="also one line: a step of the last setting by kind of kernel")
    parser.add_argument("--base-dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--adapter-dtype", choices=DTYPES, default="f32")
    parser.add_argument("--attention", choices=[*BACKENDS, "any"], default="flash")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--peak-tflops", type=float, default=989.4, help="dense bf16; default: H100 and H200 SXM")
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    if arguments.compile is None:
        arguments.compile = ["no"]
    elif not arguments.compile:
        arguments.compile = ["layers"]
    return arguments


def main() -> int:
    arguments = parsed()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    started = time.perf_counter()
    trainer = Trainer(arguments)
    print(f"gpu_step: {arguments.model} ready after {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    with attention_choice(arguments):
        for compiled in arguments.compile:
            trainer.compile(compiled)
            for sequence in arguments.sequence:
                measure_first_that_fits(trainer, sequence, compiled)
        if arguments.profile:
            profile(trainer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
