"""A planted secret is in no log line, event, state document, model record, ledger row, plan, exception or help text.

One exception is by design: `last-good.json` holds the manifests as they were written, for its owner alone.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import signal
import socket
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.main import main
from reconciler.cli.terminal import Terminal
from tests.e2e.machine import LOOPBACK, Machine, killed, until_in, weights
from tests.e2e.planted import Planted, spellings
from tests.e2e.serving import Serving, serving
from tests.fakes.hub import Hub
from tests.fakes.listener import Listener, send
from tests.fakes.origin import Fault, OriginSimulator, Pattern
from tests.fixtures.process_rig import TINY
from tests.ledger import check_ledger_document

pytestmark = pytest.mark.e2e

COMMIT = "c" * 40
GATED, GOOD, SLOW = b"gated", b"good", Pattern(3 * 2**20)
OUTPUTS = ("tree", "json", "jsonl", "github")
LISTS = ("models", "slots", "adapters", "jobs", "blobs", "history", "egress", "directives", "conditions")
BY_DESIGN = "last-good.json"
LEDGER_EVENT = b"event: egress.ledger.appended"


@pytest.fixture
def planted() -> Iterator[Planted]:
    planted = Planted()
    yield planted
    assert not planted.found, "\n".join(planted.found)
    assert planted.searched > 0


@pytest.fixture
def hub(tmp_path: Path, planted: Planted) -> Iterator[Hub]:
    folder = tmp_path / "hub"
    for name, data in (("m.gguf", GATED),):
        path = folder / "org" / "repo" / COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with Hub(folder, token=planted["hub"]) as running:
        yield running


@pytest.fixture
def owner(tmp_path: Path, planted: Planted, hub: Hub) -> Machine:
    """A machine whose operator has set every secret there is."""
    return Machine(
        tmp_path / "machine",
        HF_ENDPOINT=hub.endpoint,
        HF_TOKEN=planted["hub"],
        RECONCILER_HF_TOKEN="env:MY_HUB_TOKEN",
        MY_HUB_TOKEN=planted["hub"],
        RECONCILER_API_TOKEN="env:MY_API_TOKEN",
        MY_API_TOKEN=planted["api"],
        RECONCILER_AGAINST_TOKEN="env:MY_API_TOKEN",
        RECONCILER_NOTIFY_SECRET="env:MY_NOTIFY_SECRET",
        MY_NOTIFY_SECRET=planted["notify"],
        RECONCILER_GIT_TOKEN="env:MY_GIT_TOKEN",
        MY_GIT_TOKEN=planted["git"],
        MY_SLOT_SECRET=planted["env"],
    )


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def everything_goes_wrong(origin: OriginSimulator, planted: Planted) -> dict[str, dict[str, object]]:
    """Models for every way in which a fetch can end; every source carries secrets."""
    away = planted.escaped("redirect")
    never = b"never"
    answers: dict[str, Fault] = {
        "unauthorized": Fault(status=401, body=planted["fetched"].encode()),
        "gone": Fault(status=404, body=planted["fetched"].encode()),
        "broken": Fault(status=500),
        "wrong": Fault(flip_at=0),
        "longer": Fault(extra=b"more"),
        "cut": Fault(cut_after_bytes=1),
        "no-answer": Fault(drop=True),
        "garbage": Fault(headers=((f"Bad\x01{planted['fetched']}", planted["fetched"]),)),
        "to-ftp": Fault(redirect=f"ftp://u:{away}@host/{'x'}?sig={away}"),
        "to-nothing": Fault(redirect=f"http://u:{away}@[/?sig={away}"),
        "to-nobody": Fault(redirect=f"http://u:{away}@127.0.0.1:{closed_port()}/x?sig={away}#{away}"),
        "to-denied": Fault(redirect=f"http://u:{away}@localhost:9/x?sig={away}#{away}"),
        "in-circles": Fault(redirect=f"/in-circles?sig={away}"),
        "etag": Fault(headers=(("X-Served-By", planted["fetched"]),), cut_after_bytes=2),
    }
    models = {}
    for name, fault in answers.items():
        url = planted.url(origin.put(f"/{name}", name.encode() * 5, always=fault))
        models[name] = weights(url, never if name == "wrong" else name.encode() * 5)
    models["denied"] = weights(planted.url("http://localhost:9/denied"), b"denied")
    models["refused"] = weights(planted.url(f"http://127.0.0.1:{closed_port()}/refused"), b"refused")
    models["good"] = weights(planted.url(origin.put("/good", GOOD)), GOOD)
    models["gated"] = weights(f"hf://org/repo@{COMMIT}/m.gguf", GATED)
    return models


def declare(machine: Machine, origin: OriginSimulator, planted: Planted, **sections: object) -> None:
    machine.declare(
        models=everything_goes_wrong(origin, planted),
        egress={**LOOPBACK, "allow": ["127.0.0.1"]},
        defaults={"retries": 0},
        slots={"chat": {"model": "good"}, "code": {"model": "gone"}},
        **sections,
    )


def searched(planted: Planted, machine: Machine, *words: str | Path) -> int:
    """The command has ended and printed no secret; its exit code."""
    ran = machine.run(*words)
    told = " ".join(map(str, words))
    planted.search(f"stdout of {told}", ran.out)
    planted.search(f"stderr of {told}", ran.err)
    assert "Traceback" not in ran.err
    return ran.exit_code


def checked(planted: Planted, machine: Machine, *words: str | Path) -> int:
    """The same for a command that only reads, in this process, which is started already."""
    out, err = io.StringIO(), io.StringIO()
    where = () if words[0] == "validate" or "--help" in words else ("--state-dir", str(machine.state))
    exit_code = main([*map(str, words), *where], terminal=Terminal(out, err))
    planted.search(f"stdout of {words}", out.getvalue())
    planted.search(f"stderr of {words}", err.getvalue())
    return exit_code


def search_disk(planted: Planted, machine: Machine) -> None:
    """Nothing that was written holds a secret, but for the manifests' own copy, which nobody else may read."""
    planted.search_state(machine.state, but=(BY_DESIGN,))
    for path in machine.state.rglob(BY_DESIGN):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# ---- the search itself ------------------------------------------------------------------------


def test_the_search_finds_a_secret_however_it_is_written() -> None:
    for text in (
        "key=Planted+query/7f3a9c&",
        "PLANTED%2Bquery%2F7f3a9c",
        base64.b64encode(b"user:Planted+query/7f3a9c").decode(),
        base64.urlsafe_b64encode(b"xx:Planted+query/7f3a9c!").decode(),
        b"Planted+query/7f3a9c".hex(),
        json.dumps("Planted+query/7f3a9c").replace("/", "\\/"),
    ):
        planted = Planted()
        planted.search("here", f"before {text} after")
        assert [found.split()[0] for found in planted.found] == ["query"], text
    harmless = Planted()
    harmless.search("here", "query Planted 7f3a9c")
    assert harmless.found == []
    assert all(len(form) > 12 for form in spellings(harmless["query"]))


# ---- commands ---------------------------------------------------------------------------------


def test_no_plan_shows_a_secret(owner: Machine, origin: OriginSimulator, planted: Planted) -> None:
    declare(owner, origin, planted)
    assert searched(planted, owner, "validate", owner.manifests) == 0
    saved = owner.base / "plan.json"
    for output in OUTPUTS:
        assert searched(planted, owner, owner.manifests, "--dry-run", "-o", output) == 4
        assert searched(planted, owner, owner.manifests, "--dry-run", "--offline", "-o", output) == 4
    assert searched(planted, owner, owner.manifests, "--dry-run", "--out", saved) == 4
    planted.search("the saved plan", saved.read_bytes())
    assert origin.requests == []


def test_no_run_shows_or_keeps_a_secret(
    owner: Machine, origin: OriginSimulator, planted: Planted, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in owner.variables.items():
        monkeypatch.setenv(name, value)
    declare(owner, origin, planted)
    for output in OUTPUTS:
        searched(planted, owner, owner.manifests, "-o", output)
        search_disk(planted, owner)
    searched(planted, owner, owner.manifests, "--plan", owner.base / "absent.json")
    for output in OUTPUTS[:2]:
        for words in (("status",), ("events", "--limit", "1000"), *(("get", what) for what in LISTS)):
            assert checked(planted, owner, *words, "-o", output) == 0
    for words in (("verify",), ("gc",), ("gc", "--dry-run"), ("pin", "good"), ("suspend", "models/gone"), ("down",)):
        searched(planted, owner, *words)
    search_disk(planted, owner)

    # All of it was really sent, and really happened.
    assert owner.blob(GOOD).exists()
    assert owner.blob(GATED).exists()
    (sent, *_) = origin.to("/good")
    assert sent.target == f"/good?key={planted.escaped('query')}&more=1"
    assert sent.headers["authorization"] == _basic(f"{planted['user']}:{planted['password']}")
    assert any(request.authorization == f"Bearer {planted['hub']}" for request in hub.requests)
    told = {row["reason_code"] for row in owner.listed("egress")}
    assert {row["tool_id"] for row in owner.listed("egress")} == {"models.download", "models.preflight"}
    assert told >= {
        "models.download", "unauthorized", "not-found", "http", "connect", "redirect-refused", "egress-denied",
    }  # fmt: skip
    assert any(path.read_bytes().count(planted.escaped("query").encode()) for path in owner.state.rglob(BY_DESIGN))


def _basic(userinfo: str) -> str:
    return f"Basic {base64.b64encode(userinfo.encode()).decode()}"


def test_no_partial_download_keeps_a_secret(owner: Machine, origin: OriginSimulator, planted: Planted) -> None:
    slow = planted.url(origin.put("/slow", SLOW, always=Fault(stall_after_bytes=2 * 2**20)))
    owner.declare(models={"slow": weights(slow, SLOW)}, egress=LOOPBACK)
    process = owner.start(owner.manifests)
    until_in(process, lambda: owner.has_part(SLOW, 2**20))
    ran = killed(process, signal.SIGKILL)
    planted.search("output of a killed run", ran.out + ran.err)
    assert owner.part(SLOW).with_name(owner.part(SLOW).name + ".meta").exists()
    search_disk(planted, owner)


def test_no_record_of_a_process_holds_the_secret_that_it_was_given(
    owner: Machine, origin: OriginSimulator, planted: Planted
) -> None:
    owner.variables["RECONCILER_RUNTIMES"] = TINY[0]
    runtime = {"driver": "process", "command": list(TINY), "env": {"KEY": "env:MY_SLOT_SECRET"}, "health": "/health"}
    owner.declare(
        models={"good": weights(planted.url(origin.put("/good", GOOD)), GOOD, name="m.gguf")},
        slots={"chat": {"model": "good", "runtime": runtime}},
        egress=LOOPBACK,
    )
    try:
        assert searched(planted, owner, owner.manifests) == 0
        (process,) = (path for path in Path("/proc").glob("[0-9]*/environ") if _runs_for(path, owner))
        assert f"KEY={planted['env']}".encode() in process.read_bytes().split(b"\0")
        for words in (("status",), ("get", "slots"), ("events",)):
            assert searched(planted, owner, *words, "-o", "json") == 0
        search_disk(planted, owner)
    finally:
        assert searched(planted, owner, "down") == 0


def _runs_for(environ: Path, owner: Machine) -> bool:
    """Whether it is the environment of a process that was started for a slot of this machine."""
    with contextlib.suppress(OSError):
        return b"\0KEY=" in b"\0" + environ.read_bytes() and str(owner.state).encode() in _command(environ)
    return False


def _command(environ: Path) -> bytes:
    return environ.with_name("cmdline").read_bytes()


def test_no_help_shows_a_secret(owner: Machine, planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in owner.variables.items():
        monkeypatch.setenv(name, value)
    help_text = owner.run("--help")
    commands = [line.split()[1] for line in help_text.out.splitlines() if line.startswith("│ ") and line[2:3].islower()]
    assert {"serve", "get", "pause", "validate"} <= set(commands)
    planted.search("--help", help_text.out + help_text.err)
    for command in commands:
        assert checked(planted, owner, command, "--help") == 0


# ---- manifests that are wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "https://{userinfo}@host:port/m?key={query}#{fragment}",
        "https://{userinfo}@host/m m?key={query}",
        "https://{userinfo}@[host/m?key={query}",
        "https://{userinfo}@./m?key={query}",
        "https://u:{raw}@host/m",
        "https:/{userinfo}@host/m?key={query}",
        "HTTPS://{userinfo}@host/m?key={query}",
        "ftp://{userinfo}@host/m?key={query}",
        "s3://{userinfo}@bucket/m?key={query}",
        "//{userinfo}@host/m?key={query}",
        "{userinfo}@host:org/m?key={query}",
        "git+https://{userinfo}@host/m?key={query}",
        "hf://{userinfo}@org/repo@main/m.gguf",
        "hf://org/repo@main/m.gguf?token={query}",
        f"hf://org/repo@{COMMIT}/m.gguf?token={{query}}",
        f"hf://org/repo@{COMMIT}/?token={{query}}",
        f"hf://{{userinfo}}@org/repo@{COMMIT}/m.gguf",
        "hf://org/repo?token={query}",
        "file://{userinfo}@host/m?key={query}",
        "https://host\uff0f{userinfo}@host/m?key={query}",
        "http://{userinfo}@host%00/m?key={query}\u0001",
    ],
)
@pytest.mark.parametrize("output", ["tree", "json", "github"])
def test_no_error_in_a_source_shows_its_secrets(owner: Machine, planted: Planted, source: str, output: str) -> None:
    text = source.format(
        userinfo=planted.userinfo(),
        raw=planted["password"],
        query=planted.escaped("query"),
        fragment=planted.escaped("fragment"),
    )
    owner.declare(models={"m": {"source": text, "sha256": "0" * 64}})
    assert checked(planted, owner, "validate", owner.manifests, "-o", output) == 3
    if output == "json":
        assert checked(planted, owner, owner.manifests, "-o", output) == 3
    search_disk(planted, owner)


@pytest.mark.parametrize(
    "line",
    [
        "  m: {source: [URL, sha256: 0}",
        "  m: {source: URL\tx, source: URL}",
        "  m: {source: URL, URL: 1, sha256: 1}",
        "  m: {source: URL, sha256: URL, bytes: URL, labels: URL, priority: URL}",
        "  URL: {source: a}",
        "  m: &a {source: !URL x}",
        "  m: URL",
        "  m: 'URL",
        '  m: "URL\\q"',
        "  m: {source: *URL}",
        "  m: @URL",
    ],
)
def test_no_error_near_a_source_shows_its_secrets(owner: Machine, planted: Planted, line: str) -> None:
    url = planted.url("https://host/m")
    owner.write(f"apiVersion: reconciler/v1\nmodels:\n{line.replace('URL', url)}\n")
    for output in ("tree", "json", "github"):
        assert checked(planted, owner, "validate", owner.manifests, "-o", output) == 3
    planted_elsewhere = {"egress": {"allow": [url]}, "moved": [{"from": url, "to": url}], "adapters": {"a": url}}
    for section, value in planted_elsewhere.items():
        owner.declare(**{section: value})
        assert checked(planted, owner, "validate", owner.manifests) == 3


# ---- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RECONCILER_HF_ENDPOINT", "{url}"),
        ("HF_ENDPOINT", "{url}"),
        ("RECONCILER_HF_TOKEN", "{hub}"),
        ("RECONCILER_API_TOKEN", "{api}"),
        ("RECONCILER_AGAINST", "{url}"),
        ("RECONCILER_AGAINST_TOKEN", "{api}"),
        ("RECONCILER_NOTIFY_SECRET", "{notify}"),
        ("RECONCILER_GIT_TOKEN", "{git}"),
        ("RECONCILER_GIT", "ftp://{userinfo}@host/r?key={query}"),
        ("RECONCILER_GIT", "https://{userinfo}@host:port/r?key={query}"),
        ("RECONCILER_GIT", "ssh://{userinfo}@host/r?key={query}"),
        ("RECONCILER_NOTIFY_URL", "ftp://{userinfo}@host/r?key={query}"),
        ("RECONCILER_NOTIFY_URL", "http://{userinfo}@host:port/r?key={query}"),
    ],
)
def test_no_setting_that_can_not_be_used_is_shown(owner: Machine, planted: Planted, variable: str, value: str) -> None:
    in_urls = {"userinfo": planted.userinfo(), "query": planted.escaped("query"), "url": planted.url("http://host")}
    text = value.format(**{**planted.secrets, **in_urls})
    owner.variables[variable] = text
    owner.declare()
    assert searched(planted, owner, "serve", owner.manifests, "--listen", "127.0.0.1:0") == 64
    assert searched(planted, owner, owner.manifests, "--dry-run") == 64


# ---- a bug ------------------------------------------------------------------------------------

_BUG = """
import sys
from reconciler.cli.main import main
from reconciler.{module} import {holder}

def fail({arguments}):
    raise RuntimeError("a bug near " + repr(({known})))

{holder}.{name} = fail
sys.exit(main(sys.argv[4:]))  # behind the words of the command that this stands in for
"""


@pytest.mark.parametrize(
    ("module", "holder", "name", "arguments"),
    [
        ("transfer.attempt", "Attempts", "fetch", "self, spec, source, **more"),
        ("net.client", "Session", "open", "self, request, headers, call, *more"),
        ("origins.catalog", "SourceOrigins", "request", "self, source"),
        ("transfer.running", "Run", "turn_to", "self, source"),
        ("loop.node", "Node", "apply", "self, desired, look"),
    ],
)
def test_no_traceback_of_a_bug_shows_a_secret(
    owner: Machine, origin: OriginSimulator, planted: Planted, module: str, holder: str, name: str, arguments: str
) -> None:
    owner.declare(
        models={
            "m": weights(planted.url(origin.put("/m", GOOD)), GOOD),
            "h": weights(f"hf://org/repo@{COMMIT}/m.gguf", GATED),
        },
        egress=LOOPBACK,
    )
    script = owner.base / "bug.py"
    script.write_text(
        _BUG.format(module=module, holder=holder, name=name, arguments=arguments, known=arguments.replace("*", ""))
    )
    options = ("--timeout", "20s", "-o", "json")
    process = owner.start(owner.manifests, *options, under=(sys.executable, str(script)))
    out, err = process.communicate(timeout=60)
    assert "a bug near" in out + err
    planted.search("stdout", out)
    planted.search("stderr", err)
    search_disk(planted, owner)


# ---- serve ------------------------------------------------------------------------------------


def _read(url: str, token: str | None, *, limit_s: float = 20.0, only: int | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={} if token is None else {"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=limit_s) as answer:
            return answer.status, answer.read() if only is None else _some(answer, only)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _some(answer: object, size: int) -> bytes:
    """What a stream says until it has said so much, or nothing for a while."""
    data = b""
    with contextlib.suppress(TimeoutError):
        while len(data) < size:
            data += answer.read1(65536)  # type: ignore[attr-defined]
    return data


def search_api(planted: Planted, service: Serving, models: int) -> None:
    """Nothing that the API says holds a secret, whoever asks."""
    token = planted["api"]
    names = [path.split("/")[2] for path in json.loads(_read(f"{service.url}/openapi.json", token)[1])["paths"]
             if path.startswith("/state/") and path.count("/") == 2]  # fmt: skip
    assert {"models", "downloads", "egress", "observed", "plan", "conditions", "node"} <= set(names)
    for name in names:
        status, body = _read(f"{service.url}/state/{name}", token)
        assert status == 200
        planted.search(f"/state/{name}", body)
    items = json.loads(_read(f"{service.url}/state/models", token)[1])["items"]
    assert len(items) == models
    for name in items:
        for path in (f"/state/models/{name}", f"/state/models/{name}/metadata"):
            planted.search(path, _read(f"{service.url}{path}", token)[1])
    for path in ("/metrics", "/healthz", "/readyz", "/openapi.json", "/nowhere", "/state/nothing"):
        planted.search(path, _read(f"{service.url}{path}", token)[1])
        planted.search(path, _read(f"{service.url}{path}?token={planted.escaped('query')}", "wrong")[1])
    status, events = _read(f"{service.url}/events?replay=1000", token, limit_s=2.0, only=10**6)
    assert status == 200
    assert b"event: egress.preview" in events
    planted.search("/events", events)
    requests = json.loads(_read(f"{service.url}/state/egress", token)[1])["items"]
    assert requests.pop("settings")["posture"] == "allowlist"
    told = [json.loads(frame.partition(b"data: ")[2]) for frame in events.split(b"\n\n") if LEDGER_EVENT in frame]
    assert len(requests) >= len(told) > 10
    for row in (*requests.values(), *told):
        check_ledger_document(row)
    assert all(row in requests.values() for row in told)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_service_shows_a_secret(
    owner: Machine, origin: OriginSimulator, planted: Planted, hub: Hub, log_format: str
) -> None:
    declare(owner, origin, planted)
    owner.variables.update(RECONCILER_LOG_LEVEL="debug", RECONCILER_LOG_FORMAT=log_format)
    with Listener(lambda handler, body: send(handler, 500, planted["fetched"].encode())) as hook:
        owner.variables["RECONCILER_NOTIFY_URL"] = f"http://127.0.0.1:{hook.port}/hook?key={planted.escaped('hook')}"
        with serving(owner) as service:
            _until_told(service, planted["api"], "good")
            service.until(lambda: hook.asked)
            search_api(planted, service, models=len(everything_goes_wrong(origin, planted)))
            for output in ("tree", "json"):
                searched(planted, owner, "status", "-o", output)
            assert searched(planted, owner, owner.manifests) == 6  # another process writes, and is named
            against = ("--dry-run", "--against", service.url)
            assert searched(planted, owner, owner.manifests, *against, "-o", "json") == 4
            service.hang_up()
            service.until(lambda: "reloaded" in service.log)
            owner.write("apiVersion: reconciler/v1\nmodels: {m: {source: 'ftp://" + planted.userinfo() + "@h/m'}}\n")
            service.until(lambda: "ftp" in service.log)
            planted.search("log", service.log)
            search_disk(planted, owner)
            service.end()
    assert any(f"key={planted.escaped('hook')}" in asked.path for asked in hook.asked)
    planted.search("log", service.log)
    for asked in hook.asked:
        planted.search("what the webhook was told", asked.body + repr(asked.headers).encode())
    search_disk(planted, owner)


def _until_told(service: Serving, token: str, model: str) -> None:
    """The first pass has ended, and that model is there."""

    def is_ready() -> bool:
        status, body = _read(f"{service.url}/state/models", token)
        return status == 200 and json.loads(body)["items"].get(model, {}).get("ready") is True

    service.until(is_ready)


def test_no_git_url_is_shown(owner: Machine, planted: Planted) -> None:
    user, query = planted.escaped("gituser"), planted.escaped("gitquery")
    for userinfo in (f"{user}:{planted.escaped('git')}@", ""):
        url = f"https://{userinfo}127.0.0.1:{closed_port()}/fleet.git?key={query}"
        owner.variables["RECONCILER_LOG_LEVEL"] = "debug"
        with serving(owner, f"--git={url}") as service:
            service.until(lambda: "the source is not ready" in service.log)
            planted.search("log", service.log)
            assert searched(planted, owner, owner.manifests) == 6  # the other process is named by its command line
            search_disk(planted, owner)


def test_the_proxies_of_the_environment_hear_nothing(owner: Machine, origin: OriginSimulator, planted: Planted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY")
        owner.variables.update(dict.fromkeys((*names, *map(str.lower, names)), address))
        owner.declare(
            models={
                "good": weights(origin.put("/good", GOOD), GOOD),
                "gated": weights(f"hf://org/repo@{COMMIT}/m.gguf", GATED),
            },
            egress=LOOPBACK,
        )
        assert searched(planted, owner, owner.manifests) == 0
        with pytest.raises(BlockingIOError):
            proxy.accept()
