#!/usr/bin/env python3
"""Makes the tiny random Llama models and the tokenizer cases under tests/fixtures.

  .venv/bin/python tests/peft/make_tiny.py [FIXTURES]

tiny-llama/          Hugging Face folder: tied embeddings, 2 layers, grouped heads, f32
tiny-llama.gguf      the same model, quantised as Q8_0; the folder's weights are its de-quantised values, bit for bit
tiny-llama3/         untied output head, 1 layer, Llama 3 frequency rescaling, f32
tiny-llama3.safetensors   input_ids and logits of tiny-llama3 by transformers
tiny-llama-texts.json     texts with their token ids, and conversations with their rendered templates

The same seed gives the same files.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
import torch
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

SEED = 20260501
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BOS, EOS, PAD, UNK = 1, 2, 2, 0
VOCAB = 320

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# The merges of the tokenizer are learnt from these sentences.
SENTENCES = [
    "Die Errichtung einer Photovoltaikanlage auf dem Dach ist in der Regel verfahrensfrei.",
    "Der Widerspruch ist innerhalb eines Monats nach Bekanntgabe des Verwaltungsaktes zu erheben.",
    "Die Behörde entscheidet nach pflichtgemäßem Ermessen und beachtet die Grenzen des Ermessens.",
    "Ein Bescheid, der an einem schwerwiegenden Fehler leidet, ist nichtig.",
    "Die Baugenehmigung ist zu erteilen, wenn dem Vorhaben keine Vorschriften entgegenstehen.",
    "Die Steuer wird durch Steuerbescheid festgesetzt; die Frist beginnt mit der Bekanntgabe.",
    "Über den Antrag entscheidet die zuständige Gemeinde nach Anhörung der Beteiligten.",
]

TEXTS = [
    "Die Baugenehmigung wird erteilt.",
    "§ 35 Abs. 1 Nr. 8 BauGB: Außenbereich, größere Flächen für Solarenergie.",
    "  zwei Leerzeichen,\teine Tabulatur\nund eine neue Zeile\n\n",
    "Gebühr: 1.234,56 € am 01.02.2026",
    "ÄÖÜ äöü ß „Anführung“ – Gedankenstrich …",
    "Don't they'll I've",
    "Ein Sonnenzeichen ☀ und ein Haus 🏠.",
    "<|im_start|>user\nHallo<|im_end|>\n",
    "",
    " ",
]

CONVERSATIONS = [
    [{"role": "user", "content": "Brauche ich eine Genehmigung?"}],
    [
        {"role": "system", "content": "Du bist eine Behörde."},
        {"role": "user", "content": "Wie lang ist die Frist?"},
        {"role": "assistant", "content": "Einen Monat."},
        {"role": "user", "content": "Danke!"},
    ],
]


def make_tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer: every text has tokens, digits stand alone, as in SmolLM2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer


def llama_config(**changes) -> dict:
    """The classic config.json of a tiny Llama."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 128,
        "max_position_embeddings": 2048,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "pad_token_id": PAD,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": VOCAB,
    }
    config.update(changes)
    config["head_dim"] = config["hidden_size"] // config["num_attention_heads"]
    return config


def random_weights(config: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights wide enough that every layer shows in the logits and in every gradient."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head

    def linear(rows: int, columns: int) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def norm() -> np.ndarray:
        return (1 + 0.1 * rng.standard_normal(hidden)).astype(np.float32)

    weights = {"model.embed_tokens.weight": linear(VOCAB, hidden) * np.float32(2.5), "model.norm.weight": norm()}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        weights |= {
            prefix + "input_layernorm.weight": norm(),
            prefix + "post_attention_layernorm.weight": norm(),
            prefix + "self_attn.q_proj.weight": linear(queries, hidden),
            prefix + "self_attn.k_proj.weight": linear(keys, hidden),
            prefix + "self_attn.v_proj.weight": linear(keys, hidden),
            prefix + "self_attn.o_proj.weight": linear(hidden, queries),
            prefix + "mlp.gate_proj.weight": linear(inner, hidden),
            prefix + "mlp.up_proj.weight": linear(inner, hidden),
            prefix + "mlp.down_proj.weight": linear(hidden, inner),
        }
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = linear(VOCAB, hidden) * np.float32(2.5)
    return weights


def write_json(path: pathlib.Path, content) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def write_folder(folder: pathlib.Path, config: dict, weights: dict[str, np.ndarray], tokenizer: Tokenizer) -> None:
    """Writes a Hugging Face folder with the files that model hubs hold."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    names = {"bos_token": SPECIAL[BOS], "eos_token": SPECIAL[EOS], "pad_token": SPECIAL[PAD], "unk_token": SPECIAL[UNK]}
    write_json(folder / "tokenizer_config.json", {
        "add_bos_token": False,
        "add_prefix_space": False,
        **names,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": config["max_position_embeddings"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    })
    write_json(folder / "generation_config.json", {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD})


def permute(rows: np.ndarray, heads: int) -> np.ndarray:
    """Reorders the rows of a q or k projection from Hugging Face's half-rotated to GGUF's interleaved order."""
    half = rows.shape[0] // heads // 2
    return np.ascontiguousarray(rows.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(rows.shape))


GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    if name in GGUF_NAMES:
        return GGUF_NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest.removesuffix('.weight')]}.weight"


def write_gguf(path: pathlib.Path, config: dict, weights: dict[str, np.ndarray], tokenizer: Tokenizer) -> None:
    """Writes the model as GGUF and replaces `weights` by what the quantised file stands for."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name("tiny-llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_vocab_size(VOCAB)
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    model = json.loads(tokenizer.to_str())["model"]
    vocab = sorted(model["vocab"], key=model["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocab)
    writer.add_token_types([
        gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in vocab
    ])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_unk_token_id(UNK)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    q8 = gguf.GGMLQuantizationType.Q8_0
    for name, values in weights.items():
        if values.ndim == 1:
            writer.add_tensor(gguf_name(name), values)
            continue
        # Each row is quantised on its own, so that reordering rows before or after makes no difference.
        weights[name] = gguf.dequantize(gguf.quantize(values, q8), q8).reshape(values.shape).astype(np.float32)
        projection = name.split(".")[-2]
        stored = permute(values, heads[projection]) if projection in heads else values
        writer.add_tensor(gguf_name(name), gguf.quantize(stored, q8), raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_texts(path: pathlib.Path, folder: pathlib.Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = []
    for text in TEXTS + SENTENCES:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids, skip_special_tokens=False) == text, text
        texts.append({"text": text, "ids": ids})
    conversations = [
        {
            "messages": messages,
            "add_generation_prompt": prompt,
            "rendered": tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt),
        }
        for messages in CONVERSATIONS
        for prompt in (False, True)
    ]
    # One line each: short to read, and a change shows as one line.
    lines = {
        key: ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
        for key, entries in (("texts", texts), ("conversations", conversations))
    }
    path.write_text(
        f'{{"texts": [\n{lines["texts"]}\n],\n"conversations": [\n{lines["conversations"]}\n]}}\n', encoding="utf-8"
    )


def write_logits(path: pathlib.Path, folder: pathlib.Path, rng: np.random.Generator) -> None:
    """Logits past the original context of the rescaling, so that each of its three branches counts."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    ids = torch.from_numpy(rng.integers(3, VOCAB, (1, 96)))
    with torch.no_grad():
        logits = model(ids).logits[0]
    save_file({"input_ids": ids[0].numpy(), "logits": logits.numpy()}, path)
    path.chmod(0o644)


def main() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    fixtures = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root
    fixtures.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    rng = np.random.default_rng(SEED)
    tokenizer = make_tokenizer()

    config = llama_config()
    weights = random_weights(config, rng)
    write_gguf(fixtures / "tiny-llama.gguf", config, weights, tokenizer)
    write_folder(fixtures / "tiny-llama", config, weights, tokenizer)
    write_texts(fixtures / "tiny-llama-texts.json", fixtures / "tiny-llama")

    rescaled = llama_config(
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=1,
        rope_theta=500000.0,
        tie_word_embeddings=False,
        rope_scaling={
            "factor": 8.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 64,
            "rope_type": "llama3",
        },
    )
    write_folder(fixtures / "tiny-llama3", rescaled, random_weights(rescaled, rng), tokenizer)
    write_logits(fixtures / "tiny-llama3.safetensors", fixtures / "tiny-llama3", rng)


if __name__ == "__main__":
    main()
