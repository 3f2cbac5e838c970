#!/usr/bin/env python3
"""Times `clara ingest` on JSON lines, with its whole chain: mends, filters, masks, drops duplicates and near-duplicates, splits, writes.

  tests/ingest/bench_clara.py --clara target/release/clara --corpus corpus.jsonl --work DIR

Prints one JSON line.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clara", type=pathlib.Path, required=True)
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    out, home = arguments.work / "clara", arguments.work / "home"
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
    command = [arguments.clara.resolve(), "ingest", "--domain", "recht", "--source", arguments.corpus.resolve(), "--out", out, "-o", "json"]
    started = time.monotonic()
    ended = subprocess.run(command, env={**os.environ, "CLARA_HOME": str(home)}, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if ended.returncode:
        print(ended.stderr, file=sys.stderr)
        return ended.returncode
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    figures = {
        "what": "ingest",
        "engine": "clara",
        "documents": manifest["documents_read"],
        "kept": manifest["documents_kept"],
        "dropped": manifest["dropped"],
        "seconds": seconds,
        "documents_per_second": manifest["documents_read"] / seconds,
        "megabytes_per_second": arguments.corpus.stat().st_size / 1e6 / seconds,
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
