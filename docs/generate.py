"""Write everything that is made from the code: schemas/*.json and docs/reference/*.md.

python docs/generate.py           write the files
python docs/generate.py --check   exit 1 and name the files that differ from what the code says
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from generators import api, cli, codes, conditions, events, faults, manifest, processes, schemas, settings, transfer

ROOT = Path(__file__).parents[1]

FILES: Mapping[str, Callable[[], str]] = {
    "schemas/manifest.schema.json": schemas.manifest,
    "schemas/lock.schema.json": schemas.lock,
    "schemas/model_record.schema.json": schemas.model_record,
    "schemas/egress_ledger.schema.json": schemas.egress_ledger,
    "docs/design/processes.md": processes.page,
    "docs/design/transfer.md": transfer.page,
    "docs/reference/manifest.md": manifest.page,
    "docs/reference/cli.md": cli.page,
    "docs/reference/settings.md": settings.page,
    "docs/reference/exit-codes-and-jobs.md": codes.page,
    "docs/reference/conditions-and-reasons.md": conditions.page,
    "docs/reference/http-api.md": api.page,
    "docs/reference/events.md": events.page,
    "docs/reference/download-faults.md": faults.page,
}


def main(arguments: list[str]) -> int:
    """All files are written, or with `--check` compared; the exit code."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 64
    stale = [name for name, make in FILES.items() if _differs(ROOT / name, make())]
    if arguments:
        for name in stale:
            print(f"{name} is not what the code says; run: python docs/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).write_text(FILES[name](), encoding="utf-8")
        print(f"wrote {name}")
    return 0


def _differs(path: Path, text: str) -> bool:
    return not path.is_file() or path.read_text(encoding="utf-8") != text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
