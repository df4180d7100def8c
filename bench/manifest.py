"""How long 10,000 models take to load, next to ruamel's C safe loader on the same text.

Run as `python bench/manifest.py`. Both sides run in turn in one process; each ratio is the median
of the paired ratios, so that a machine that is busy for a while does not decide it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

from ruamel.yaml import YAML

from reconciler.manifest.load import ManifestCache, load
from reconciler.manifest.tree import Layer, ManifestFile

TARGET_LOAD = 0.6
TARGET_RELOAD = 1 / 50


def manifest_text(models: int, seed: int) -> bytes:
    """A manifest of `models` models on six lines each."""
    source = random.Random(seed)
    lines = ["apiVersion: reconciler/v1", "models:"]
    for i in range(models):
        lines += [
            f"  model-{i:05d}:",
            f"    source: https://example.com/models/{i:05d}/model-{i}.gguf",
            f"    sha256: {source.randbytes(32).hex()}",
            f"    bytes: {source.randrange(10**6, 10**10)}",
            f"    labels: [chat, size-{i % 7}]",
            "    license: apache-2.0",
        ]
    return ("\n".join(lines) + "\n").encode()


def layers_of(text: bytes) -> tuple[Layer, ...]:
    """One layer with one file; the text is a copy, as it is when a file is read again."""
    return (Layer("paths", (ManifestFile("bench.yaml", "/bench", "/bench", bytes(bytearray(text))),)),)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=int, default=10_000)
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--seed", type=int, default=7)
    chosen = options.parse_args()
    text = manifest_text(chosen.models, chosen.seed)
    loads, reloads, peers = [], [], []
    for _ in range(chosen.runs):
        cache = ManifestCache()
        peers.append(seconds(lambda: YAML(typ="safe").load(text)))
        first, second = layers_of(text), layers_of(text)
        loads.append(seconds(lambda: load(first, paths=("/bench",), cache=cache)))  # noqa: B023 — called at once
        reloads.append(seconds(lambda: load(second, paths=("/bench",), cache=cache)))  # noqa: B023 — called at once
    lines = text.count(b"\n")
    print(f"{chosen.models} models, {lines} lines, {len(text) / 1e6:.1f} MB, {chosen.runs} runs, medians")
    print(f"ruamel C safe loader   {statistics.median(peers) * 1000:8.1f} ms")
    for name, own, target in (("load and validate", loads, TARGET_LOAD), ("reload, unchanged", reloads, TARGET_RELOAD)):
        ratio = statistics.median(mine / theirs for mine, theirs in zip(own, peers, strict=True))
        print(f"{name:22} {statistics.median(own) * 1000:8.1f} ms  ratio {ratio:.5f}  (target {target:.5f})")


if __name__ == "__main__":
    main()
