#!/usr/bin/env python3
"""Writes a GGUF file of the Llama architecture as a Hugging Face folder in f32.

  .venv/bin/python tests/peft/gguf_to_hf.py MODEL.gguf FOLDER

transformers reads GGUF itself, but slowly, and refuses to save the result. A folder whose SOURCE.json
names the same file by its SHA-256 is left as it is.
"""

import argparse
import hashlib
import json
import pathlib
import re
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file

OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Tensors that only carry what config.json says too.
DERIVED = {"rope_freqs.weight"}
CONTROL, USER_DEFINED = 3, 4


class Unsupported(Exception):
    """The file holds something that this converter does not know."""


def hub_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    if name in OUTER:
        return OUTER[name]
    parts = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if parts is None or parts[2] not in IN_BLOCK:
        raise Unsupported(f"unknown tensor {name}")
    return f"model.layers.{parts[1]}.{IN_BLOCK[parts[2]]}.weight"


def half_rotated(rows: np.ndarray, heads: int) -> np.ndarray:
    """Reorders the rows of q or k: GGUF keeps the two halves of each head interleaved, transformers one after the other."""
    half = rows.shape[0] // heads // 2
    return np.ascontiguousarray(rows.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(rows.shape))


def read_tensors(reader: gguf.GGUFReader, heads: int, key_value_heads: int) -> dict[str, np.ndarray]:
    """All weights de-quantised to f32 under the hub's names."""
    tensors = {}
    for tensor in reader.tensors:
        if tensor.name in DERIVED:
            continue
        shape = [int(size) for size in reversed(tensor.shape)]
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        if ".attn_q." in tensor.name:
            values = half_rotated(values, heads)
        elif ".attn_k." in tensor.name:
            values = half_rotated(values, key_value_heads)
        tensors[hub_name(tensor.name)] = values
    return tensors


def decimal(value: float) -> float:
    """The shortest decimal of an f32: 1e-05 instead of 9.999999747378752e-06."""
    return float(np.format_float_scientific(np.float32(value)))


def model_config(metadata: dict, tied: bool) -> dict:
    if metadata.get("llama.rope.scaling.type", "none") != "none" or "llama.rope.scaling.factor" in metadata:
        raise Unsupported("rescaled rotary frequencies")
    hidden, heads = metadata["llama.embedding_length"], metadata["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "head_dim": metadata.get("llama.attention.key_length", hidden // heads),
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": metadata["llama.feed_forward_length"],
        "max_position_embeddings": metadata["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": metadata["llama.block_count"],
        "num_key_value_heads": metadata.get("llama.attention.head_count_kv", heads),
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
        "rms_norm_eps": decimal(metadata["llama.attention.layer_norm_rms_epsilon"]),
        "rope_scaling": None,
        "rope_theta": decimal(metadata.get("llama.rope.freq_base", 10000.0)),
        "tie_word_embeddings": tied,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
    }


def tokenizer_json(metadata: dict) -> dict:
    """The byte-level BPE tokenizer with SmolLM's splitting: digits stand alone."""
    model, splitting = metadata["tokenizer.ggml.model"], metadata.get("tokenizer.ggml.pre")
    if (model, splitting) != ("gpt2", "smollm"):
        raise Unsupported(f"tokenizer {model} with pre-tokenizer {splitting}")
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": kind == CONTROL,
            }
            for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind in (CONTROL, USER_DEFINED)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": metadata["tokenizer.ggml.merges"],
        },
    }


def tokenizer_config(metadata: dict) -> dict:
    tokens = metadata["tokenizer.ggml.tokens"]
    names = {"bos": "bos_token", "eos": "eos_token", "padding": "pad_token", "unknown": "unk_token"}
    special = {
        name: tokens[metadata[f"tokenizer.ggml.{key}_token_id"]]
        for key, name in names.items()
        if f"tokenizer.ggml.{key}_token_id" in metadata
    }
    return {
        "add_bos_token": metadata.get("tokenizer.ggml.add_bos_token", False),
        "add_prefix_space": False,
        **special,
        "chat_template": metadata.get("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata["llama.context_length"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def convert(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes `source` as a folder, unless `folder` already holds it.

    Raises `Unsupported` for anything but a plain Llama with SmolLM's tokenizer.
    """
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    stamp = folder / "SOURCE.json"
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8"))["sha256"] == digest:
        return
    reader = gguf.GGUFReader(source)
    metadata = {key: field.contents() for key, field in reader.fields.items()}
    if metadata["general.architecture"] != "llama":
        raise Unsupported(f"architecture {metadata['general.architecture']}")
    heads = metadata["llama.attention.head_count"]
    tensors = read_tensors(reader, heads, metadata.get("llama.attention.head_count_kv", heads))
    files = {
        "config.json": model_config(metadata, tied="lm_head.weight" not in tensors),
        "tokenizer.json": tokenizer_json(metadata),
        "tokenizer_config.json": tokenizer_config(metadata),
    }
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    # Last: its presence says that the folder is whole.
    stamp.write_text(json.dumps({"file": source.name, "sha256": digest}) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    try:
        convert(arguments.source, arguments.folder)
    except Unsupported as error:
        print(f"gguf_to_hf: {arguments.source}: cannot convert {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
