"""Secrets that are planted wherever an operator may put one, and the search for them in everything that comes out."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

NAMES = (
    "user", "password", "query", "fragment", "redirect", "hub", "api", "notify", "hook", "git", "gituser", "gitquery",
    "fetched", "env",
)  # fmt: skip
"""Where each of them is planted."""


@dataclass
class Planted:
    """The secrets of one test, and everything that was found where they must not be."""

    secrets: Mapping[str, str] = field(default_factory=lambda: {name: f"Planted+{name}/7f3a9c" for name in NAMES})
    """Every one has characters that a URL must escape."""
    found: list[str] = field(default_factory=list)
    searched: int = 0

    def __getitem__(self, name: str) -> str:
        """The secret as a program holds it."""
        return self.secrets[name]

    def escaped(self, name: str) -> str:
        """The secret as it stands in a URL."""
        return quote(self.secrets[name], safe="")

    def userinfo(self) -> str:
        """User and password as they stand in a URL."""
        return f"{self.escaped('user')}:{self.escaped('password')}"

    def url(self, plain: str) -> str:
        """`plain` with every secret that a URL can carry."""
        scheme, _, rest = plain.partition("://")
        query, fragment = self.escaped("query"), self.escaped("fragment")
        return f"{scheme}://{self.userinfo()}@{rest}?key={query}&more=1#{fragment}"

    def search(self, where: str, what: str | bytes) -> None:
        """`what` holds no secret in any spelling, or `found` says which."""
        data = what.encode("utf-8", "surrogateescape") if isinstance(what, str) else what
        self.searched += len(data)
        low = data.lower()
        for name, secret in self.secrets.items():
            for form in spellings(secret):
                at = low.find(form.lower())
                if at >= 0:
                    self.found.append(f"{name} in {where}: {data[max(0, at - 60) : at + 60]!r}")
                    break

    def search_state(self, folder: Path, but: Iterable[str] = ()) -> None:
        """No file below `folder` holds a secret, apart from those named; databases are read row by row too."""
        for path in sorted(folder.rglob("*")):
            self.search(f"the name {path}", str(path.relative_to(folder)))
            if path.is_symlink():
                self.search(f"the link {path}", str(path.readlink()))
            elif path.is_file() and path.name not in but:
                self.search(str(path), path.read_bytes())
                if path.suffix == ".db":
                    self._search_tables(path)

    def _search_tables(self, path: Path) -> None:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            for table in tables:
                for row in connection.execute(f"SELECT * FROM {table}"):
                    self.search(f"table {table} of {path}", repr(row))


def spellings(secret: str) -> Iterable[bytes]:
    """Every way in which `secret` may be written down."""
    yield secret.encode()
    yield quote(secret, safe="").encode()
    yield quote_plus(secret, safe="/").encode()
    yield secret.replace("/", "\\/").encode()
    yield secret.encode().hex().encode()
    for lead in range(3):  # base64 of a text around it depends on where it begins
        text = base64.b64encode(b"\0" * lead + secret.encode())
        inner = text[(0, 2, 3)[lead] : len(text) // 4 * 4 - 4]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")
