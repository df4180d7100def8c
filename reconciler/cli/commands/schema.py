"""`reconcile schema`: the JSON Schemas, made from the code that checks."""

from __future__ import annotations

from reconciler.assembly import SchemaName
from reconciler.cli.options import Given


def schema(what: SchemaName = "manifest", /, *, context: Given) -> int:
    """Print the JSON Schema of a manifest, of the record of a model in `models/<name>.json`, or of a ledger row.

    Parameters
    ----------
    what
        Which schema. [default: manifest]
    """
    context.terminal.say(context.assembly().schema(what).rstrip("\n"))
    return 0
