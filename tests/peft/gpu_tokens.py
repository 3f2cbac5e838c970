#!/usr/bin/env python3
"""Writes texts as u32 tokens without a header, for both engines of a benchmark to train on.

  .venv/bin/python tests/peft/gpu_tokens.py --model FOLDER --out tokens.u32 examples/verwaltungsrecht/training.jsonl docs/*.md

A file is one document, of JSONL each line is one; an end-of-sequence token follows each.
"""

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Iterator

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from transformers import AutoTokenizer


def documents(file: pathlib.Path) -> Iterator[str]:
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".jsonl":
        yield text
        return
    for line in text.splitlines():
        record = json.loads(line)
        yield "\n\n".join(record[field] for field in ("instruction", "input", "output", "text") if record.get(field))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="Hugging Face folder with the tokenizer")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    ids = []
    for file in arguments.files:
        for text in documents(file):
            ids += tokenizer.encode(text, add_special_tokens=False) + [tokenizer.eos_token_id]
    np.array(ids, dtype="<u4").tofile(arguments.out)
    print(f"gpu_tokens: {len(ids)} tokens in {arguments.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
