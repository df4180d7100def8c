"""Hostile YAML in a fresh process: refused with a position, in little time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")

MAX_CPU_S = 2.0
MAX_RSS_KIB = 200 * 1024

PROGRAM = """
import json, pathlib, re, resource, sys
text = eval(sys.argv[1])
from reconciler.manifest.load import load
from reconciler.manifest.tree import Layer, ManifestFile
before = resource.getrusage(resource.RUSAGE_SELF)
result = load((Layer("paths", (ManifestFile("h.yaml", "/m", "/m", text),)),), paths=("/m",))
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "refused": result.desired is None,
    "errors": [[error.reason, error.line, error.column] for error in result.errors[:100]],
    "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    "rss_kib": int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]),
}))
"""

BOMB = (
    'b"a: &a [x,x,x,x,x,x,x,x,x]\\n"'
    ' + b"".join(b"%c: &%c [%s]\\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 110))'
)


@dataclass(frozen=True)
class Outcome:
    refused: bool
    errors: list[list[object]]
    cpu_s: float
    rss_kib: int


def load_in_fresh_process(expression: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, expression], capture_output=True, text=True, timeout=60, check=True
    )
    return Outcome(**json.loads(done.stdout))


@pytest.mark.parametrize(
    ("expression", "first_error"),
    [
        ('b"[" * 100_000', ["TooDeep", 1, 65]),
        ('b"a: " + b"{a: " * 100_000', ["TooDeep", 1, 256]),
        ('b"- " * 100_000', ["TooDeep", 1, 129]),
        ('b"? " * 100_000', ["TooDeep", 1, 129]),
        ('b"[\\n" * 100_000', ["TooDeep", 65, 1]),
        ('b"[https://x/y, " * 100_000', ["TooDeep", 1, 14 * 64 + 1]),
        ('b"".join(b" " * i + b"a:\\n" for i in range(2_000))', ["TooDeep", 65, 65]),
        (BOMB, ["TooManyAliases", 6, 8]),
        ('b"a: &a [" + b"x," * 50_000 + b"]\\nb: [*a, *a, *a]\\n"', ["TooManyAliases", 2, 9]),
        ('b"a: &a 1\\nb: [" + b"*a," * 100_000 + b"]\\n"', ["TooManyAliases", 2, 305]),
        ('b"a: &a [*a]\\n"', ["Cycle", 1, 8]),
        ('b"a: !!python/object/apply:os.system [id]\\n"', ["CustomTag", 1, 4]),
        ('b"a: &a !custom {x: 1}\\n"', ["CustomTag", 1, 4]),
        ('b"a: 1\\n" + b"#" * (40 * 2**20)', ["TooLarge", 1, 1]),
        ('b"[" * (40 * 2**20)', ["TooLarge", 1, 1]),
        ('b"a: \'" + b"x" * (8 * 2**20)', ["SyntaxError", 1, 8 * 2**20 + 5]),
        ('b"k" * 1_000_000 + b": 1\\n"', ["SyntaxError", 1, 1_000_001]),
        ('b"\\x00" * 1_000_000', ["SyntaxError", 1, 1]),
        ('b"\\xff" * 1_000_000', ["SyntaxError", 1, 1]),
    ],
)
def test_hostile_texts_are_refused_cheaply(expression: str, first_error: list[object]) -> None:
    outcome = load_in_fresh_process(expression)
    assert outcome.refused
    assert first_error in outcome.errors
    assert outcome.cpu_s < MAX_CPU_S
    assert outcome.rss_kib < MAX_RSS_KIB


def test_a_field_that_is_shared_by_many_models_is_not_copied_for_each() -> None:
    expression = (
        'b"apiVersion: reconciler/v1\\nmodels:\\n  a: &a {source: https://x/y, labels: [" + b"x," * 900'
        ' + b"], sha256: "'
        ' + b"a" * 64 + b"}\\n" + b"".join(b"  m%d: *a\\n" % i for i in range(99))'
    )
    outcome = load_in_fresh_process(expression)
    assert not outcome.refused
    assert outcome.cpu_s < MAX_CPU_S
    assert outcome.rss_kib < MAX_RSS_KIB
