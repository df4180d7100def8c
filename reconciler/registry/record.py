"""The model record `models/<name>.json`: what runtimes and people read about a model without asking us.

The fields of ARW's `spec/schemas/model_manifest.json` for the entry file, closed like there, plus
`files`, so that a program that reads ARW's manifests finds what it knows. Imports pydantic: load
this module only when there is a record to write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema

from reconciler.core.desired import Role
from reconciler.core.digest import Digest
from reconciler.core.entry import Entry, entry_file
from reconciler.core.errors import StalledError

_Sha256 = Annotated[str, Field(pattern="^[a-fA-F0-9]{64}$")]
_AbsolutePath = Annotated[str, Field(pattern="^/")]
_Size = Annotated[int, Field(ge=0)]


class FileRecord(BaseModel):
    """One file of a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, description="its path in the view")]
    path: Annotated[_AbsolutePath, Field(description="where its bytes lie")]
    sha256: _Sha256
    bytes: _Size
    role: Role


class ModelRecord(BaseModel):
    """A registered model whose files are all present and verified."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Model record")

    id: Annotated[str, Field(min_length=1, description="the name in the manifest")]
    file: Annotated[_Sha256, Field(description="the entry file's name in the content-addressed store")]
    name: Annotated[str | None, Field(description="what people call it")]
    path: Annotated[_AbsolutePath, Field(description="where the entry file's bytes lie")]
    url: Annotated[
        str | None,
        Field(
            description="where they came from, without userinfo, query and fragment",
            json_schema_extra={"format": "uri"},
        ),
    ]
    sha256: Annotated[_Sha256, Field(description="of the entry file")]
    cas: Annotated[Literal["sha256"], Field(json_schema_extra={"enum": ["sha256"]})]
    bytes: Annotated[_Size, Field(description="of the entry file")]
    provider: str
    verified: bool
    files: Annotated[tuple[FileRecord, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _entry_file_is_listed(self) -> Self:
        if not any(file.sha256 == self.sha256 and file.path == self.path for file in self.files):
            raise ValueError(f"the entry file {self.sha256} is not one of `files`")
        return self


def render_record(
    entry: Entry, *, blob_path: Callable[[Digest], str], sizes: Mapping[Digest, int], url: str | None
) -> bytes:
    """The record of `entry` as JSON text, valid by the schema; the same arguments give the same bytes.

    `sizes` holds every digest of the entry. Raises StalledError (reason `RecordInvalid`).
    """
    spec = entry.spec
    main = entry_file(spec)
    files = tuple(
        {
            "name": file.path,
            "path": blob_path(file.digest),
            "sha256": file.digest,
            "bytes": sizes[file.digest],
            "role": file.role,
        }
        for file in spec.files
    )
    fields = {
        "id": spec.name,
        "file": main.digest,
        "name": spec.display_name or main.path.rpartition("/")[2],
        "path": blob_path(main.digest),
        "url": url,
        "sha256": main.digest,
        "cas": "sha256",
        "bytes": sizes[main.digest],
        "provider": spec.provider,
        "verified": True,
        "files": files,
    }
    try:
        record = ModelRecord.model_validate(fields)
    except ValidationError as error:
        raise StalledError(f"the model record of {spec.ref} is not valid: {error}", reason="RecordInvalid") from error
    return record.model_dump_json(indent=2).encode() + b"\n"


def record_schema_text() -> str:
    """The JSON Schema (2020-12) of a model record, as in `schemas/model_record.schema.json`."""
    schema = {"$schema": GenerateJsonSchema.schema_dialect, **ModelRecord.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"
