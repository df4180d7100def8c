"""Slots with a process, their adapters and programs."""

from __future__ import annotations

import pytest

from reconciler.core.desired import AdapterUse, Driver, Load, Runtime, SlotSpec
from reconciler.manifest.load import load
from tests.unit.manifest.trees import A, B, body, desired, error, errors, file, hint, layer, reasons

MODELS = f"""
models:
  m: {{source: https://x.io/m.gguf, sha256: {A}}}
  other: {{source: https://x.io/o.gguf, sha256: {B}}}
adapters:
  sql: {{base: m, source: https://x.io/sql.gguf, sha256: {B}}}
  far: {{base: other, source: https://x.io/far.gguf, sha256: {B}}}
"""
COMMAND = '[llama-server, -m, "{model}", --port, "{port}"]'
ADAPTED = '[llama-server, -m, "{model}", "{adapters}", --port, "{port}"]'


def chat(fields: str, command: str = COMMAND, runtime: str = "") -> str:
    """The slot `chat` on line 10; its fields follow, then its runtime."""
    lines = [f"    {line.strip()}" for line in fields.splitlines() if line.strip()]
    text = ["slots:", "  chat:", "    model: m", *lines, "    runtime:", "      driver: process"]
    text += [f"      command: {command}"] if command else []
    text += [f"      {line.strip()}" for line in runtime.splitlines() if line.strip()]
    return MODELS + "\n".join(text) + "\n"


def test_everything_that_a_slot_with_a_process_can_say() -> None:
    text = chat(
        """adapters: [{name: sql, scale: 0.8}]
        load: on_demand
        idle_ttl: 15m
        default: true""",
        ADAPTED,
        """env: {MODE: fast, KEY: env:KEY, TOKEN: file:/run/secrets/token}
        port: 8080
        health: /v1/models
        health_timeout: 5m""",
    )
    env = (("KEY", "env:KEY"), ("MODE", "fast"), ("TOKEN", "file:/run/secrets/token"))
    command = ("llama-server", "-m", "{model}", "{adapters}", "--port", "{port}")
    assert desired(body(text)).slots["chat"] == SlotSpec(
        "chat",
        "m",
        Driver.PROCESS,
        True,
        (AdapterUse("sql", 0.8),),
        Load.ON_DEMAND,
        900.0,
        Runtime(command, env, 8080, "/v1/models", 300.0),
    )


def test_what_a_slot_with_a_process_does_not_say_has_defaults() -> None:
    spec = desired(body(chat(""))).slots["chat"]
    assert spec == SlotSpec(
        "chat", "m", Driver.PROCESS, runtime=Runtime(("llama-server", "-m", "{model}", "--port", "{port}"))
    )


def test_words_and_values_may_look_like_anything() -> None:
    text = chat("", '["/opt/x", -m, "{model}", "{port}", 8080, true, "", "{\\"a\\": 1}"]', "env: {N: 1, T: false}")
    runtime = desired(body(text)).slots["chat"].runtime
    assert runtime is not None
    assert runtime.command[4:] == ("8080", "true", "", '{"a": 1}')
    assert runtime.env == (("N", "1"), ("T", "false"))


def test_a_process_needs_a_command() -> None:
    text = chat("", "")
    assert error(body(text)) == "m/a.yaml:12:5: slots.chat.runtime: a process needs a command"
    assert hint(body(text)) == "add `command:` with the program and its arguments"
    assert reasons(body(text)) == ["MissingKey"]


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("load: eager", "slots.chat.load"),
        ("idle_ttl: 5m", "slots.chat.idle_ttl"),
        ("adapters: [{name: sql}]", "slots.chat.adapters"),
        ("runtime: {command: [x]}", "slots.chat.runtime.command"),
        ("runtime: {driver: link, port: 80}", "slots.chat.runtime.port"),
        ("runtime: {env: {A: b}}", "slots.chat.runtime.env"),
        ("runtime: {health: /x}", "slots.chat.runtime.health"),
        ("runtime: {health_timeout: 5s}", "slots.chat.runtime.health_timeout"),
    ],
)
def test_files_have_no_process_to_say_anything_of(line: str, where: str) -> None:
    text = MODELS + f"slots:\n  chat:\n    model: m\n    {line}\n"
    key = where.rpartition(".")[2]
    assert error(body(text)).endswith(f"{where}: {key!r} is for slots with a process; this one is files only")
    assert hint(body(text)) == "add `driver: process` below `runtime`, or remove it"
    assert reasons(body(text)) == ["Conflict"]


# ---- commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "column", "message"),
    [
        ('["", "{model}", "{port}"]', 17, "wanted a program, got an empty word"),
        ('["{model}", "{port}"]', 17, "the program can't be a placeholder, got '{model}'"),
        ('[x, "{model}", "{port}", "{modle}"]', 41, "unknown placeholder '{modle}'"),
        ('[x, "{model}", "{port}", "-a={adapters}"]', 41, "{adapters} must be a word of its own, got '-a={adapters}'"),
    ],
)
def test_a_wrong_word_is_refused_at_its_place(command: str, column: int, message: str) -> None:
    index = {17: 0, 41: 3}[column]
    path = f"slots.chat.runtime.command[{index}]"
    assert error(body(chat("", command))) == f"m/a.yaml:14:{column}: {path}: {message}"


def test_the_hint_of_an_unknown_placeholder_names_the_known_ones() -> None:
    text = chat("", '[x, "{model}", "{port}", "{modle}"]')
    assert "known: {model}, {mmproj}, {adapters}, {port}" in str(hint(body(text)))


@pytest.mark.parametrize(
    ("command", "missing"), [('[x, "{port}"]', "what it is to serve"), ('[x, "{model}"]', "where it is to listen")]
)
def test_a_command_names_the_model_and_the_port(command: str, missing: str) -> None:
    assert error(body(chat("", command))).endswith(f"the program would not know {missing}")


def test_a_command_is_never_empty_or_without_text() -> None:
    assert reasons(body(chat("", "[]"))) == ["BadValue"]
    assert reasons(body(chat("", '[x, ~, "{model}", "{port}"]'))) == ["BadValue"]
    assert reasons(body(chat("", "x"))) == ["BadValue"]


def test_adapters_need_their_place_in_the_command() -> None:
    text = chat("adapters: [{name: sql}]")
    assert error(body(text)).endswith("the slot has adapters, and the command has no {adapters} to apply them")


def test_a_projector_is_named_only_where_the_model_has_one() -> None:
    text = chat("", '[x, "{model}", "{port}", "{mmproj}"]')
    assert error(body(text)).endswith("slots.chat.runtime.command: 'm' has no file for {mmproj}")
    with_one = f"""
        models:
          m:
            source: https://x.io/m
            files: {{a.gguf: {{sha256: {A}}}, mmproj-a.gguf: {{sha256: {B}}}}}
        slots:
          chat: {{model: m, runtime: {{driver: process, command: [x, "{{model}}", "{{port}}", "{{mmproj}}"]}}}}
        """
    assert desired(body(with_one)).slots["chat"].driver is Driver.PROCESS


# ---- adapters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapters", "message"),
    [
        ("[{name: sqll}]", "slots.chat.adapters[0].name: wanted the name of a declared adapter, got 'sqll'"),
        ("[{name: sql}, {name: sql}]", "slots.chat.adapters[1].name: the adapter 'sql' is there already"),
        ("[{name: far}]", "slots.chat.adapters[0].name: the adapter 'far' is for 'other', the slot serves 'm'"),
        ("[{scale: 1}]", "slots.chat.adapters[0]: the key 'name' is missing"),
        ("[{name: sql, scale: .nan}]", "slots.chat.adapters[0].scale: wanted a number such as 0.8, got '.nan'"),
        ("[{name: sql, scale: '1'}]", "slots.chat.adapters[0].scale: wanted a number such as 0.8, got '1'"),
    ],
)
def test_an_adapter_that_cannot_be_applied_is_refused(adapters: str, message: str) -> None:
    found = errors(body(chat(f"adapters: {adapters}", ADAPTED)))
    assert [line.partition(": ")[2] for line in found] == [message]


def test_scales_may_be_any_number() -> None:
    text = chat("adapters: [{name: sql, scale: -1.5e-1}]", ADAPTED)
    assert desired(body(text)).slots["chat"].adapters == (AdapterUse("sql", -0.15),)
    assert desired(body(chat("adapters: [{name: sql}]", ADAPTED))).slots["chat"].adapters == (AdapterUse("sql", 1.0),)


def test_an_adapter_states_what_its_file_must_say() -> None:
    text = MODELS.replace("base: m,", "base: m, alpha: 16, rank: 8,")
    spec = desired(body(text)).adapters["sql"]
    assert (spec.alpha, spec.rank) == (16.0, 8)
    assert reasons(body(MODELS.replace("base: m,", "base: m, alpha: 0,"))) == ["BadValue"]
    assert reasons(body(MODELS.replace("base: m,", "base: m, rank: 0,"))) == ["BadValue"]


def adapter_of(files: str) -> str:
    return MODELS + f"  peft:\n    base: m\n    source: https://x.io/peft\n    files: {files}\n"


def test_an_adapter_may_be_a_folder() -> None:
    peft = f"{{adapter_model.safetensors: {{sha256: {A}}}, adapter_config.json: {{sha256: {B}}}}}"
    assert len(desired(body(adapter_of(peft))).adapters["peft"].files) == 2
    gguf = f"{{a.gguf: {{sha256: {A}}}, README.json: {{sha256: {B}}}}}"
    assert len(desired(body(adapter_of(gguf))).adapters["peft"].files) == 2


@pytest.mark.parametrize(
    "files",
    [
        f"{{adapter_model.safetensors: {{sha256: {A}}}}}",
        f"{{a.gguf: {{sha256: {A}}}, b.gguf: {{sha256: {B}}}}}",
    ],
)
def test_a_folder_that_is_no_adapter_is_refused(files: str) -> None:
    assert "wanted adapter_config.json and adapter_model.safetensors, or a single GGUF file, got" in error(
        body(adapter_of(files))
    )


# ---- addresses, health and loading --------------------------------------------------------------


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_is_one(port: str) -> None:
    assert "slots.chat.runtime.port: wanted a whole number" in error(body(chat("", runtime=f"port: {port}")))


def test_no_two_slots_have_one_port() -> None:
    text = chat("", runtime="port: 8080")
    text += f"  code: {{model: m, runtime: {{driver: process, port: 8080, command: {COMMAND}}}}}\n"
    assert error(body(text)).endswith(
        "slots.code.runtime.port: port 8080 is that of another slot already, at m/a.yaml:15:13"
    )


def test_health_is_a_path() -> None:
    assert error(body(chat("", runtime="health: ready"))).endswith("wanted a path that begins with '/', got 'ready'")


@pytest.mark.parametrize(
    ("fields", "runtime", "message"),
    [
        ("load: on_demand", "", "on_demand needs a stable port"),
        ("idle_ttl: 5m", "", "an eager slot always runs, so it can't be unloaded when idle"),
        ("load: eager\nidle_ttl: 5m", "port: 80", "an eager slot always runs, so it can't be unloaded when idle"),
        ("load: manual\nidle_ttl: 5m", "", "idle_ttl needs a stable port"),
    ],
)
def test_what_is_loaded_and_unloaded_by_its_use_can_be_seen(fields: str, runtime: str, message: str) -> None:
    assert error(body(chat(fields, runtime=runtime))).endswith(message)


def test_how_a_slot_is_loaded_is_one_of_three() -> None:
    assert error(body(chat("load: lazy"))).endswith("wanted eager or on_demand or manual, got 'lazy'")
    assert reasons(body(chat("load: lazy\nidle_ttl: 5m"))) == ["BadValue"]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("{1A: x}", "environment variable '1A' must consist of letters, digits and '_' and not begin with a digit"),
        ("{RECONCILER_X: x}", "environment variable 'RECONCILER_X' is ours"),
        ("{A: 'env:'}", "wanted env:NAME, got 'env:'"),
        ("{A: 'file:secret'}", "wanted file:/PATH, got 'file:secret'"),
        ("{A: ~}", "wanted a word of a command, got nothing"),
        ("{A: [x]}", "wanted a single value, got a list"),
        ("[A]", "wanted a map of environment variables, got a list"),
    ],
)
def test_an_environment_holds_texts_and_references(env: str, message: str) -> None:
    assert message in error(body(chat("", runtime=f"env: {env}")))


# ---- schedule ----------------------------------------------------------------------------------


def test_a_schedule_has_an_interval_occasions_and_a_time_zone() -> None:
    text = """
        schedule:
          reconcile: 30s
          prune: "30 3 * * sun"
          verify: "0 4 1 * *"
          timezone: Europe/Berlin
        """
    schedule = desired(body(text)).schedule
    assert (schedule.reconcile_s, schedule.prune, schedule.verify) == (30.0, "30 3 * * sun", "0 4 1 * *")
    assert schedule.timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("reconcile: 0.5s", "wanted at least 1s, got '0.5s'"),
        ("prune: '30 3 * * 0'", "schedule.prune: wanted weekdays by name"),
        ("verify: hourly", "schedule.verify: wanted five fields"),
        ("timezone: Mars/Olympus", "schedule.timezone: wanted an IANA time zone"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(line: str, message: str) -> None:
    assert message in error(body(f"schedule: {{{line}}}\n"))


def test_requests_may_never_declare_slots() -> None:
    text = "apiVersion: reconciler/v1\n" + chat("")
    found = load((layer(), layer(file(text), name="requests")), paths=())
    assert "NotAllowedHere" in [each.reason for each in found.errors]
    assert found.desired is not None
    assert found.desired.slots == {}
