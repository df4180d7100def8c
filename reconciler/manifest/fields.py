"""What a manifest may say: every section and key that this version honours, in one table.

`read.py` checks manifests against it and `schema.py` makes the JSON Schema from it. A key of the
product that is not honoured yet stands in `later`, so that it is refused by its name.
"""

from __future__ import annotations

from enum import StrEnum

from reconciler.core.desired import Adopt, Driver, Load, Role
from reconciler.core.names import MAX_NAME, name_problem, path_problem, slot_name_problem
from reconciler.manifest.commands import ENV_NAME, ENV_VALUE, WORD, env_name_problem
from reconciler.manifest.policy_fields import (
    BUDGETS,
    CONCURRENCY,
    DEFAULTS,
    EGRESS,
    LABELS,
    PROVIDER,
    PRUNING,
    SCHEDULE,
)
from reconciler.manifest.scalars import (
    BOOLEAN,
    DIGEST,
    DURATION,
    FINITE,
    LOCATED_TEXT,
    LOCK_VERSION,
    OPTIONAL_COMMIT,
    POSITIVE,
    SOURCE_TEXT,
    TEXT,
    choice,
    integer,
    whole_number,
)
from reconciler.manifest.shapes import (
    Group,
    GroupList,
    ListType,
    NamedGroups,
    NamedValues,
    fields,
    group,
    groups,
    named,
    named_values,
    scalar,
    several,
)


def lock_path_problem(path: str) -> str | None:
    """Why `path` can't be a file of a locked source; None if it can."""
    return path_problem(path) if path else None


def any_source(_: str) -> None:
    """Nothing: an unreadable source matches no manifest, and is reported as unused."""


class ApiVersion(StrEnum):
    """Versions of the format that are understood."""

    V1 = "reconciler/v1"


_NAME_INSIDE = r"/~\u0000-\u001f\u007f"
_NAME = {
    "minLength": 1,
    "maxLength": MAX_NAME,
    "pattern": rf"^[^\s{_NAME_INSIDE}]([^{_NAME_INSIDE}]*[^\s{_NAME_INSIDE}])?$",
}
_SLOT_NAME = {"pattern": r"^[a-z0-9][a-z0-9_-]{0,31}$"}
_PATH_PART = r"[A-Za-z0-9_-]([A-Za-z0-9_. -]*[A-Za-z0-9_-])?"
_PATH = {"minLength": 1, "pattern": rf"^{_PATH_PART}(/{_PATH_PART})*$"}

MOST_URGENT = 1_000_000
# Room for every scheme of figures; a larger one is a typing error.

_EXAMPLE_SOURCE = "https://example.com/models/house-style.gguf"
_EXAMPLE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# ---- models ----------------------------------------------------------------------------------

SHA256 = scalar(
    "sha256",
    DIGEST,
    "SHA-256 of the bytes, 64 hexadecimal digits. Mandatory, here or in reconcile.lock: bytes without it "
    "are never published.",
    examples=(_EXAMPLE_SHA256,),
)
BYTES = scalar(
    "bytes",
    integer(0),
    "Size in bytes. Without it the size is unknown until the server tells it.",
    examples=(90868376,),
)
ROLE = scalar("role", choice(Role), "What the file is for; told from its name where absent.")
FILE = Group("A file of a model", fields(SHA256, BYTES, ROLE))

SOURCE = scalar(
    "source",
    SOURCE_TEXT,
    "Where the bytes come from: https://, http:// (where egress allows it), hf://ORG/REPO@COMMIT/PATH with a commit of "
    "40 digits, or file: with a path that is absolute or relative to this file. With `files` it is their prefix.",
    examples=(_EXAMPLE_SOURCE, "file:weights/house-style.gguf"),
)
SOURCES = several(
    "sources",
    ListType(SOURCE_TEXT, min_items=1),
    "Mirrors of the same bytes, tried in order.",
    examples=([_EXAMPLE_SOURCE],),
)
FILES = named(
    "files",
    NamedGroups(FILE, "file path", path_problem, _PATH, min_items=1),
    "The files of a model that has several, by their path below the source; runtimes see them under the same path.",
)
NAME = scalar(
    "name",
    TEXT,
    "The name people and runtimes see. For a single file it is also the file's name; default: the last part of the "
    "source.",
)
LICENSE = scalar("license", TEXT, "The licence, as an SPDX identifier where it has one.", examples=("apache-2.0",))
PRIORITY = scalar(
    "priority",
    whole_number(-MOST_URGENT, MOST_URGENT, "the highest of those that wait starts first; 0 is what the others have"),
    "How urgent it is: of the downloads that wait, that with the highest figure starts first.",
    default=0,
    examples=(10,),
)
ADOPT = scalar(
    "adopt",
    choice(Adopt),
    "How the bytes of a file: source come into the store: cloned or copied, or as a second name of the same file.",
    default="clone",
)
CATALOG_ALIAS = scalar(
    "catalog", LOCATED_TEXT, "The catalog entry whose fields hold where this one does not say otherwise."
)

_MODEL_FIELDS = fields(
    SOURCE,
    SOURCES,
    CATALOG_ALIAS,
    SHA256,
    BYTES,
    FILES,
    NAME,
    LICENSE,
    PROVIDER,
    LABELS,
    PRIORITY,
    ADOPT,
)
_MODEL_LATER = ("pin", "track")
_ONE_KIND_OF_SOURCE = {"not": {"required": ["source", "sources"]}}
_ONE_KIND_OF_FILES = {"not": {"required": ["files"], "anyOf": [{"required": ["sha256"]}, {"required": ["bytes"]}]}}
_HAS_SOURCE = {"anyOf": [{"required": ["source"]}, {"required": ["sources"]}]}
_HAS_SOURCE_OR_ALIAS = {"anyOf": [{"required": ["source"]}, {"required": ["sources"]}, {"required": ["catalog"]}]}

MODEL = Group(
    "A model",
    _MODEL_FIELDS,
    later=_MODEL_LATER,
    rules={"allOf": [_ONE_KIND_OF_SOURCE, _ONE_KIND_OF_FILES, _HAS_SOURCE_OR_ALIAS]},
)
CATALOG_ENTRY = Group(
    "Fields that models share",
    _MODEL_FIELDS,
    later=_MODEL_LATER,
    rules={"allOf": [_ONE_KIND_OF_SOURCE, _ONE_KIND_OF_FILES]},
)
MODELS = named(
    "models", NamedGroups(MODEL, "model name", name_problem, _NAME), "The models that must be present, by name."
)
CATALOG = named(
    "catalog",
    NamedGroups(CATALOG_ENTRY, "catalog name", name_problem, _NAME),
    "Fields that models share, by alias; a model takes them with `catalog: ALIAS`.",
)

# ---- adapters --------------------------------------------------------------------------------

BASE = scalar("base", LOCATED_TEXT, "The model that the adapter is for.", required=True)
ALPHA = scalar("alpha", POSITIVE, "The scaling that the file must state; default: whatever it states.", examples=(16,))
RANK = scalar("rank", integer(1), "The rank that the file must have; default: whatever it has.", examples=(8,))
ADAPTER = Group(
    "A LoRA adapter",
    fields(BASE, SOURCE, SOURCES, SHA256, BYTES, FILES, ALPHA, RANK),
    rules={"allOf": [_ONE_KIND_OF_SOURCE, _ONE_KIND_OF_FILES, _HAS_SOURCE]},
)
ADAPTERS = named(
    "adapters",
    NamedGroups(ADAPTER, "adapter name", name_problem, _NAME),
    "The LoRA adapters that must be present, by name.",
)

# ---- slots -----------------------------------------------------------------------------------

DRIVER = scalar(
    "driver",
    choice(Driver, later=("http", "command")),
    "What serves the slot: link, files only; process, a program that is started and supervised.",
    default="link",
)
COMMAND = several(
    "command",
    ListType(WORD, min_items=1),
    "The program and its arguments. {model}, {mmproj} and {port} stand for the model's file, its projector and a free "
    "port; the word {adapters} for the adapters with their scales.",
    examples=(["llama-server", "--model", "{model}", "{adapters}", "--port", "{port}"],),
)
ENV = named_values(
    "env",
    NamedValues(ENV_VALUE, "environment variable", env_name_problem, ENV_NAME),
    "What the program finds in its environment besides the basics: texts, or secrets as env:NAME or file:/PATH.",
    examples=({"HF_TOKEN": "env:HF_TOKEN"},),
)
PORT = scalar(
    "port",
    whole_number(1, 65535),
    "The stable port of the slot on the loopback address, whichever process serves it.",
    examples=(8080,),
)
HEALTH = scalar(
    "health", LOCATED_TEXT, "The path that answers 200 as soon as the program can serve.", default="/health"
)
HEALTH_TIMEOUT = scalar("health_timeout", DURATION, "How long it may take to become healthy.", default="120s")
RUNTIME = group(
    "runtime",
    Group(
        "How a slot is served",
        fields(DRIVER, COMMAND, ENV, PORT, HEALTH, HEALTH_TIMEOUT),
        rules={
            "if": {"properties": {"driver": {"const": "process"}}, "required": ["driver"]},
            "then": {"required": ["command"]},
            "else": {"propertyNames": {"const": "driver"}},
        },
    ),
    "How the slot is served.",
)
SLOT_MODEL = scalar("model", LOCATED_TEXT, "The model that the slot serves.", required=True)
DEFAULT = scalar("default", BOOLEAN, "Whether this is the node's default; at most one slot is.", default=False)
USE_NAME = scalar("name", LOCATED_TEXT, "The name of a declared adapter for the slot's model.", required=True)
USE_SCALE = scalar("scale", FINITE, "How strongly it is applied.", default=1.0)
SLOT_ADAPTERS = groups(
    "adapters",
    GroupList(Group("An adapter that a slot applies", fields(USE_NAME, USE_SCALE))),
    "The adapters that the slot applies, in order; changed scales are applied without a restart.",
)
LOAD = scalar(
    "load",
    choice(Load),
    "When the program runs: eager, always; on_demand, from the first connection to its port on; manual, from "
    "`reconcile load` on.",
    default="eager",
)
IDLE_TTL = scalar(
    "idle_ttl", DURATION, "How long nothing may go through its port before it is unloaded.", examples=("15m",)
)
SLOT = Group(
    "A stable name for a model",
    fields(SLOT_MODEL, DEFAULT, SLOT_ADAPTERS, LOAD, IDLE_TTL, RUNTIME),
    later=("anchor",),
)
SLOTS = named(
    "slots",
    NamedGroups(SLOT, "slot name", slot_name_problem, _SLOT_NAME),
    "Stable names, and the model that each of them serves.",
)

# ---- renames ----------------------------------------------------------------------------------

MOVE_FROM = scalar(
    "from", LOCATED_TEXT, "The reference it had, such as models/old.", required=True, examples=("models/old",)
)
MOVE_TO = scalar("to", LOCATED_TEXT, "The reference it has now.", required=True, examples=("models/new",))
MOVED = groups(
    "moved",
    GroupList(Group("A rename", fields(MOVE_FROM, MOVE_TO))),
    "What was renamed: nothing is deleted or fetched because of it.",
)

# ---- the document ----------------------------------------------------------------------------

API_VERSION = scalar(
    "apiVersion",
    choice(ApiVersion),
    "The version of this format.",
    required=True,
    examples=(ApiVersion.V1.value,),
)
MANIFEST = Group(
    "Manifest of the model reconciler",
    fields(
        API_VERSION,
        MODELS,
        ADAPTERS,
        SLOTS,
        CONCURRENCY,
        BUDGETS,
        PRUNING,
        CATALOG,
        DEFAULTS,
        EGRESS,
        SCHEDULE,
        MOVED,
    ),
    later=("upstreams", "peers"),
)

# ---- reconcile.lock --------------------------------------------------------------------------

LOCK_FORMAT = scalar("format", LOCK_VERSION, "The version of this format.", required=True)
LOCK_COMMIT = scalar("commit", OPTIONAL_COMMIT, "The commit that a repository's reference stood for.")
LOCK_SHA256 = scalar("sha256", DIGEST, "SHA-256 of the bytes.", required=True)
LOCK_BYTES = scalar("bytes", integer(0), "Size in bytes.")
LOCK_FILES = named(
    "files",
    NamedGroups(Group("Pin of a file", fields(LOCK_SHA256, LOCK_BYTES)), "file path", lock_path_problem, {}),
    "The files below the source, by path; a source that is a single file has the path ''.",
)
LOCK_SOURCES = named(
    "sources",
    NamedGroups(Group("Pins of a source", fields(LOCK_COMMIT, LOCK_FILES)), "source", any_source, {}),
    "The sources as the manifests write them.",
)
LOCK = Group("Lock file of the model reconciler", fields(LOCK_FORMAT, LOCK_SOURCES))
