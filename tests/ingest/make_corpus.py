#!/usr/bin/env python3
"""Makes a corpus of German documents for measurements: JSON lines with `id` and `text`, the same for the same arguments.

  tests/ingest/make_corpus.py --documents 10000 --seed 1 --from sections.jsonl --out corpus.jsonl

Each document is a chain of sentences drawn from the texts of `--from` (JSON lines with `content` or `text`), 150 to 3,000 characters. Of 100
documents 4 repeat an earlier one, 4 an earlier one with a few words changed, 1 repeats a line over and over, 1 has an e-mail address, 1 is wrongly decoded.
"""

import argparse
import json
import pathlib
import random
import re


def sentences(file: pathlib.Path) -> list[str]:
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        text = record.get("content") or record.get("text") or record.get("output") or ""
        found += [part.strip() for part in re.split(r"(?<=[.;])\s+", text) if 40 <= len(part.strip()) <= 600]
    if len(found) < 100:
        raise SystemExit(f"{file} holds {len(found)} sentences, expected at least 100")
    return found


def document(draw: random.Random, pool: list[str]) -> str:
    length, parts, size = draw.randint(150, 3000), [], 0
    while size < length:
        parts.append(draw.choice(pool))
        size += len(parts[-1]) + 1
    return "\n".join(parts) if draw.random() < 0.3 else " ".join(parts)


def changed(draw: random.Random, text: str) -> str:
    words = text.split(" ")
    for _ in range(max(1, len(words) // 100)):
        words[draw.randrange(len(words))] = draw.choice(words)
    return " ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", dest="origin", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    draw, pool = random.Random(arguments.seed), sentences(arguments.origin)
    earlier: list[str] = []
    with arguments.out.open("w", encoding="utf-8") as out:
        for number in range(arguments.documents):
            kind = draw.randrange(100)
            if kind < 4 and earlier:
                text = draw.choice(earlier)
            elif kind < 8 and earlier:
                text = changed(draw, draw.choice(earlier))
            elif kind == 8:
                text = "\n".join([draw.choice(pool)] * 20)
            elif kind == 9:
                text = f"{document(draw, pool)} Fragen an amt{number}@example.org."
            elif kind == 10:
                text = document(draw, pool).encode("utf-8").decode("latin-1")
            else:
                text = document(draw, pool)
            if len(earlier) < 5000:
                earlier.append(text)
            out.write(json.dumps({"id": f"d{number}", "text": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
