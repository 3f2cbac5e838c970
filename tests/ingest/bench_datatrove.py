#!/usr/bin/env python3
"""Times datatrove on JSON lines: mends text, filters by Gopher's rules for repetition and quality, masks addresses, drops near-duplicates.

  tests/ingest/bench_datatrove.py --corpus corpus.jsonl --work DIR [--workers 2]

Prints one JSON line. The corpus is cut into as many files as there are workers first; that is not timed. Words are parted by spaCy's German
tokeniser, as datatrove does for German.
"""

import argparse
import json
import pathlib
import resource
import shutil
import time

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

GERMAN = "deu_Latn"
STOP_WORDS = ["der", "die", "das", "und", "in", "zu", "den", "ist", "von", "mit"]


def parted(corpus: pathlib.Path, folder: pathlib.Path, parts: int) -> None:
    folder.mkdir(parents=True)
    files = [(folder / f"{part:02}.jsonl").open("wb") for part in range(parts)]
    with corpus.open("rb") as lines:
        for number, line in enumerate(lines):
            files[number % parts].write(line)
    for file in files:
        file.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    work, workers = arguments.work / "datatrove", arguments.workers
    shutil.rmtree(work, ignore_errors=True)
    parted(arguments.corpus, work / "input", workers)
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)

    def run(name: str, pipeline: list, tasks: int = workers) -> None:
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=min(workers, tasks), logging_dir=str(work / "log" / name)).run()

    started = time.monotonic()
    clean, signatures, buckets, removed = (str(work / name) for name in ("clean", "signatures", "buckets", "removed"))
    run(
        "clean",
        [
            JsonlReader(str(work / "input"), text_key="text"),
            FTFYFormatter(normalization="NFC"),
            GopherRepetitionFilter(language=GERMAN),
            GopherQualityFilter(min_doc_words=5, stop_words=STOP_WORDS, max_avg_word_length=14, language=GERMAN),
            PIIFormatter(),
            JsonlWriter(clean, compression=None),
        ],
    )
    run("signatures", [JsonlReader(clean), MinhashDedupSignature(signatures, config=config, language=GERMAN)])
    run("buckets", [MinhashDedupBuckets(signatures, buckets, config=config)], tasks=config.num_buckets)
    run("cluster", [MinhashDedupCluster(buckets, removed, config=config)], tasks=1)
    run("filter", [JsonlReader(clean), MinhashDedupFilter(removed), JsonlWriter(str(work / "out"), compression=None)])
    seconds = time.monotonic() - started
    count = lambda folder: sum(sum(1 for _ in file.open("rb")) for file in pathlib.Path(folder).glob("*.jsonl"))
    read = count(work / "input")
    print(
        json.dumps(
            {
                "what": "ingest",
                "engine": "datatrove",
                "documents": read,
                "kept": count(work / "out"),
                "seconds": seconds,
                "documents_per_second": read / seconds,
                "megabytes_per_second": arguments.corpus.stat().st_size / 1e6 / seconds,
                "peak_mebibytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
