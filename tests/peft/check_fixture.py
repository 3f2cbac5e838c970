#!/usr/bin/env python3
"""Makes the fixtures anew with the installed PyTorch and PEFT, and compares them with the committed ones.

  .venv/bin/python tests/peft/check_fixture.py

So the tests that run without Python are known to compare with PEFT as it is. Exit code 0 if all tensors agree
within 1e-5 of the tensor's largest value; another processor may add in another order.
"""

import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

from safetensors.torch import load_file

LIMIT = 1e-5


def largest_difference(committed: pathlib.Path, made: pathlib.Path) -> tuple[float, str]:
    """The largest difference, relative to the tensor's largest value, and the tensor that has it."""
    expected, found = load_file(committed), load_file(made)
    if expected.keys() != found.keys():
        return float("inf"), f"other tensors: {sorted(expected.keys() ^ found.keys())}"
    worst, where = 0.0, "-"
    for name, tensor in expected.items():
        if tensor.shape != found[name].shape:
            return float("inf"), f"shape of {name}"
        scale = tensor.abs().max().double().clamp(min=1e-12)
        # A value that is not a number counts as far off.
        apart = (tensor.double() - found[name].double()).abs().nan_to_num(nan=math.inf)
        difference = (apart.max() / scale).item()
        if difference > worst:
            worst, where = difference, name
    return worst, where


def main() -> int:
    here = pathlib.Path(__file__).resolve().parent
    fixtures = here.parent / "fixtures"
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        made = pathlib.Path(folder) / "fixtures"
        shutil.copytree(fixtures, made)
        for path in made.rglob("*.safetensors"):
            path.unlink()
        for script in ("make_tiny.py", "make_fixture.py"):
            subprocess.run([sys.executable, here / script, made], check=True)
        for path in sorted(fixtures.rglob("*.safetensors")):
            name = path.relative_to(fixtures)
            worst, where = largest_difference(path, made / name)
            failed += worst > LIMIT
            print(f"{str(name):45} largest relative difference {worst:.1e} ({where})")
    print(f"{failed} files differ by more than {LIMIT:.0e}" if failed else "the fixtures are what PEFT computes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
