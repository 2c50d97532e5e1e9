"""vLLM in one small archive, for a GPU machine that has torch and reaches no package index.

``python3.12 -m tests.gpu.pack HAVE ARCHIVE``: HAVE is the other machine's ``pip list --format=freeze``; ARCHIVE a
``.tar.xz`` to be unpacked into a folder on its PYTHONPATH. Left out is what classification on a Hopper GPU never loads;
code of other GPU generations is overwritten with zeros, which pack to nothing: 42 MB instead of 480 MB.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

_VLLM = "vllm==0.26.0"  # the newest that runs with torch 2.11
_TORCH = "torch==2.11.0"
_OURS = ("obstore", "tenacity")  # what the modules under measurement import besides
_HOPPER = 90
_UNUSED_PACKAGES = {
    "anthropic", "cryptography", "cuda-python", "cuda-tile", "fastar", "fastsafetensors", "flashinfer-python",
    "humming-kernels", "mistral-common", "nvidia-cuda-cccl", "nvidia-cuda-crt", "nvidia-cuda-nvcc",
    "nvidia-cuda-nvdisasm", "nvidia-cudnn-frontend", "nvidia-cutlass-dsl", "nvidia-cutlass-dsl-libs-base",
    "nvidia-cutlass-dsl-libs-core", "nvidia-cutlass-dsl-libs-cu12", "nvidia-cutlass-dsl-libs-cu13", "nvidia-nvvm",
    "pycountry", "pynvvideocodec", "quack-kernels", "rignore", "sentry-sdk", "supervisor", "tilelang", "tokenspeed-mla",
    "tokenspeed-triton", "torch-c-dlpack-ext", "torchcodec", "z3-solver",
}  # fmt: skip
_UNUSED_FILES = (
    "vllm/vllm_flash_attn/_vllm_fa2_C",  # Hopper takes the third FlashAttention
    "vllm/vllm-rs",
    "vllm/_qutlass",
    "vllm/third_party/deep_gemm",
    "vllm/third_party/fmha_sm100",
    "vllm/third_party/tml_fa4",
)
# Kernels with nothing but PTX for Hopper are those of quantised weights, and large; the small ones stay.
_LARGE_PTX_BYTES = 100_000


def _fatbins(data: bytearray, offset: int, end: int) -> Iterator[list[tuple[int, int, int, int]]]:
    """Entries of each fat binary in a section: kind (1 PTX, 2 machine code), generation, first byte, bytes."""
    while offset < end:
        if data[offset : offset + 4] != b"\x50\xed\x55\xba":
            offset += 8
            continue
        header, size = struct.unpack_from("<HQ", data, offset + 6)
        at, last = offset + header, offset + header + size
        entries = []
        while at < last:
            kind, _, entry_header, payload = struct.unpack_from("<HHIQ", data, at)
            (generation,) = struct.unpack_from("<I", data, at + 28)
            entries.append((kind, generation, at + entry_header, payload))
            at += entry_header + payload
        yield entries
        offset = last


def _blank_other_gpus(library: Path) -> None:
    """Overwrite the kernels that a Hopper GPU doesn't load, in place."""
    listing = subprocess.run(["readelf", "-SW", library], capture_output=True, text=True, check=True).stdout
    sections = [line.split("]", 1)[1].split() for line in listing.splitlines() if "] .nv_fatbin" in line]
    data = bytearray(library.read_bytes())
    for section in sections:
        offset, size = int(section[3], 16), int(section[4], 16)
        for entries in _fatbins(data, offset, offset + size):
            has_own = any(kind == 2 and generation == _HOPPER for kind, generation, *_ in entries)
            for kind, generation, at, payload in entries:
                is_own = kind == 2 and generation == _HOPPER
                is_fallback = kind == 1 and generation <= _HOPPER and not has_own and payload <= _LARGE_PTX_BYTES
                if not (is_own or is_fallback):
                    data[at : at + payload] = bytes(payload)
    library.write_bytes(data)


def main() -> None:
    """Install in a fresh environment, take what the other machine lacks, pack it."""
    have, archive = (Path(argument) for argument in sys.argv[1:])
    there = {_normal(line.partition("==")[0]) for line in have.read_text(encoding="utf-8").split()}
    with tempfile.TemporaryDirectory() as folder:
        environment, site = Path(folder) / "environment", Path(folder) / "site"
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([environment / "bin/pip", "install", "--quiet", _VLLM, _TORCH, *_OURS], check=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        for package in Distribution.discover(path=[str(packages)]):
            if _normal(package.metadata["Name"]) not in there | _UNUSED_PACKAGES | {"pip", "setuptools"}:
                _take(package, packages, site)
        for library in site.glob("vllm/**/*.abi3.so"):
            _blank_other_gpus(library)
        with archive.open("wb") as packed:
            tar = subprocess.Popen(["tar", "-C", site, "-cf", "-", "."], stdout=subprocess.PIPE)
            subprocess.run(["xz", "-9", "--lzma2=preset=9,dict=256MiB"], stdin=tar.stdout, stdout=packed, check=True)
            if tar.wait():
                raise SystemExit("tar failed")
    print(f"{archive}: {archive.stat().st_size:,} bytes")


def _take(package: Distribution, packages: Path, site: Path) -> None:
    for file in package.files or []:
        name, source = str(file), packages / file
        if name.startswith(("..", *_UNUSED_FILES)) or "__pycache__" in name or not source.is_file():
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    main()
