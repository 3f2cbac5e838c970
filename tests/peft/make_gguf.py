#!/usr/bin/env python3
"""Makes tests/fixtures/families/*.gguf: the tiny models of make_families.py as GGUF files with F32 weights.

  .venv/bin/python tests/peft/make_gguf.py [FIXTURES]

qwen2.gguf, qwen3.gguf   with the byte-level tokenizer of tiny-llama
gemma3.gguf              norms stored whole, with a SentencePiece vocabulary of 320 pieces
gemma3-texts.json        texts with the ids that transformers reads with that vocabulary
"""

import json
import pathlib
import sys

import gguf
import numpy as np
from make_tiny import GGUF_NAMES
from safetensors.numpy import load_file
from transformers import AutoTokenizer
from transformers.utils import logging

NAMES = GGUF_NAMES | {
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
# Letters first, then what joins them, the likelier the earlier.
LETTERS = list("▁etnrisahdulgcomfbwkzpvßüäöEDBVW.,§-0123456789")
JOINED = ["en", "er", "▁d", "ie", "▁die", "ei", "te", "▁B", "in", "ung", "un", "▁de", "der", "▁der"]
TEXTS = [
    "Die Baugenehmigung wird erteilt.",
    "die  Behörde,\tder Bescheid\nund § 35 BauGB – 🏠",
    " führt",
    "<bos>Der<eos>",
    "",
]


def tensor_name(name: str, has_output_norms: bool) -> str:
    if name in NAMES:
        return NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    outputs = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm"}
    names = NAMES | (outputs if has_output_norms else {})
    return f"blk.{layer}.{names[part]}.{kind}"


def write_bytes(writer: gguf.GGUFWriter, folder: pathlib.Path) -> None:
    """The byte-level tokenizer of the folder."""
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    vocab = sorted(model["vocab"], key=model["vocab"].get)
    control = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocab)
    writer.add_token_types([gguf.TokenType.CONTROL if t in control else gguf.TokenType.NORMAL for t in vocab])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def write_pieces(writer: gguf.GGUFWriter, size: int) -> None:
    """A SentencePiece vocabulary: special pieces, all bytes, letters and what joins them."""
    pieces = SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.UNKNOWN] + [gguf.TokenType.BYTE] * 256
    text = JOINED + LETTERS
    text = text[: size - len(pieces)]
    scores = [0.0] * len(pieces) + [-float(rank) for rank in range(len(text))]
    pieces += text
    kinds += [gguf.TokenType.NORMAL] * len(text)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def write(families: pathlib.Path, family: str) -> None:
    folder = families / family
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(families / f"{family}.gguf", family)
    writer.add_type("model")
    writer.add_name(f"tiny-{family}")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_key_length(head)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    is_gemma = family == "gemma3"
    rope = config["rope_parameters"]
    writer.add_rope_freq_base((rope["full_attention"] if is_gemma else rope)["rope_theta"])
    if is_gemma:
        writer.add_sliding_window(config["sliding_window"])
        write_pieces(writer, config["vocab_size"])
    else:
        write_bytes(writer, folder)
    for name, values in load_file(folder / "model.safetensors").items():
        if is_gemma and name.endswith("norm.weight"):
            values = values + np.float32(1.0)
        writer.add_tensor(tensor_name(name, is_gemma), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (families / f"{family}.gguf").chmod(0o644)


def main() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    families = (pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root) / "families"
    logging.disable_progress_bar()
    for family in ("qwen2", "qwen3", "gemma3"):
        write(families, family)
    tokenizer = AutoTokenizer.from_pretrained(families, gguf_file="gemma3.gguf")
    lines = [json.dumps({"text": text, "ids": tokenizer.encode(text)}, ensure_ascii=False) for text in TEXTS]
    path = families / "gemma3-texts.json"
    path.write_text('{"texts": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
