"""Keep the tested versions in one place: constraints.txt, copied into pyproject.toml for uv.

    python .ci/sync_constraints.py            write `[tool.uv] constraint-dependencies` from constraints.txt
    python .ci/sync_constraints.py --check    exit 1 if they differ, or if a line is not NAME==VERSION
    python .ci/sync_constraints.py --upgrade  let uv resolve everything anew and write both files

uv.lock is not in git because it names the host it was resolved against; constraints.txt names none.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
PYPROJECT = ROOT / "pyproject.toml"
LOCK = ROOT / "uv.lock"
PROJECT = "model-reconciler"
HEADER = "# Tested versions of everything this project installs. Made by .ci/sync_constraints.py --upgrade.\n"

_LINE = re.compile(r"[a-z0-9][a-z0-9-]*==[0-9][0-9a-z.]*").fullmatch
_LIST = re.compile(r"^constraint-dependencies = \[[^\]]*\]", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Do what the one argument says; 64 for any other."""
    match arguments:
        case []:
            return _write(_pins())
        case ["--check"]:
            return _check(_pins())
        case ["--upgrade"]:
            return _upgrade()
        case _:
            print(__doc__, file=sys.stderr)
            return 64


def _pins() -> list[str]:
    lines = CONSTRAINTS.read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    if wrong := [pin for pin in pins if not _LINE(pin)]:
        raise SystemExit(f"{CONSTRAINTS.name}: wanted NAME==VERSION, got {wrong[0]!r}")
    return pins


def _check(pins: list[str]) -> int:
    found = tomllib.loads(PYPROJECT.read_text())["tool"]["uv"]["constraint-dependencies"]
    if found == pins:
        return 0
    print("pyproject.toml and constraints.txt differ; run: python .ci/sync_constraints.py", file=sys.stderr)
    return 1


def _write(pins: list[str]) -> int:
    items = "".join(f'  "{pin}",\n' for pin in pins)
    text = PYPROJECT.read_text()
    PYPROJECT.write_text(_LIST.sub(lambda _: f"constraint-dependencies = [\n{items}]", text, count=1))
    return _check(pins)


def _upgrade() -> int:
    PYPROJECT.write_text(_LIST.sub("constraint-dependencies = []", PYPROJECT.read_text(), count=1))
    subprocess.run(["uv", "lock", "--upgrade"], cwd=ROOT, check=True)
    CONSTRAINTS.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in _locked()))
    return _write(_pins()) or subprocess.run(["uv", "lock"], cwd=ROOT, check=False).returncode


def _locked() -> list[tuple[str, str]]:
    """Every package of uv.lock but our own; where Pythons need different versions, the oldest: it suits them all."""
    versions: dict[str, str] = {}
    for package in tomllib.loads(LOCK.read_text())["package"]:
        name, version = package["name"], package["version"]
        if name != PROJECT:
            versions[name] = min(versions.get(name, version), version, key=_numbers)
    return sorted(versions.items())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
