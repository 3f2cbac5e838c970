#!/usr/bin/env python3
"""Makes tests/fixtures/nf4.safetensors: what bitsandbytes makes of a matrix, for tests that run without Python.

  .venv/bin/python tests/peft/make_nf4.py [FIXTURES]

`values [210, 100]` f32; `packed`, `scales` u8, `nested_scales`, `offset` f32 as `quantize_4bit` stores them with
`compress_statistics`; `dequantised [210, 100]` f32; `codes [256]` f32, the values of the scales' codes. Zeros, a block of
nothing but zeros and a short last block are among the values.
"""

import pathlib
import sys

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from safetensors.torch import save_file

SEED = 11


def main() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    fixtures = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root
    torch.manual_seed(SEED)
    # A length that is no multiple of a block, and more blocks than share one scale.
    values = torch.randn(210, 100) * torch.logspace(-3, 0, 210)[:, None]
    values[5:8] = 0.0
    packed, state = quantize_4bit(values, blocksize=64, compress_statistics=True, quant_type="nf4")
    path = fixtures / "nf4.safetensors"
    save_file(
        {
            "values": values,
            "packed": packed.flatten(),
            "scales": state.absmax,
            "nested_scales": state.state2.absmax,
            "offset": state.offset.reshape(1),
            "codes": state.state2.code,
            "dequantised": dequantize_4bit(packed, state).contiguous(),
        },
        path,
    )
    path.chmod(0o644)


if __name__ == "__main__":
    main()
