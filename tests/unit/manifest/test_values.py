"""Single values: typed by their field, strict about the surprises of YAML 1.1."""

from __future__ import annotations

import pytest

from reconciler.core.desired import Adopt, Limits, PrunePolicy
from reconciler.core.egress import EgressPolicy, HostRule
from tests.unit.manifest.trees import A, body, desired, error, errors, hint, reasons


def model(**fields: str) -> str:
    lines = "".join(f"    {name}: {value}\n" for name, value in fields.items())
    return f"models:\n  m:\n    source: https://x.io/m.gguf\n{lines}"


def test_a_digest_of_digits_is_a_text_without_quotes() -> None:
    digits = "0" * 61 + "2e5"
    assert desired(body(model(sha256=digits))).models["m"].files[0].digest == digits


def test_a_digest_may_have_a_prefix_and_capitals() -> None:
    assert desired(body(model(sha256=f"sha256:{A.upper()}"))).models["m"].files[0].digest == A


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("abc", "'abc'"),
        ("''", "''"),
        ("null", "nothing"),
        ("", "nothing"),
        (A[:63], f"63 characters: '{A[:63]}'"),
        (A[:63] + "g", f"64 characters: '{A[:63]}g'"),
    ],
)
def test_a_bad_digest_is_refused_at_its_value(value: str, got: str) -> None:
    message = error(body(model(sha256=value)))
    assert message.endswith(f"models.m.sha256: wanted a SHA-256 of 64 hexadecimal digits, got {got}")
    assert message.startswith("m/a.yaml:5:")


def test_a_digest_in_a_block_does_not_pass_with_its_line_break() -> None:
    assert "wanted a SHA-256" in error(body(f"models:\n  m:\n    source: https://x.io/m\n    sha256: |\n      {A}\n"))


@pytest.mark.parametrize("value", ["1.0", "012", "yes", "2026-11-21", "22:30", "true"])
def test_texts_that_look_like_something_else_stay_texts(value: str) -> None:
    assert desired(body(model(sha256=A, license=value))).models["m"].license == value


@pytest.mark.parametrize("value", ["~", "null", "", '"a\\nb"', '"\\e[31m"', '"\\x9b"', "''"])
def test_texts_are_not_empty_and_have_no_control_characters(value: str) -> None:
    assert ": models.m.license: wanted a text on one line, got " in error(body(model(sha256=A, license=value)))


def test_a_quoted_null_is_a_text() -> None:
    assert desired(body(model(sha256=A, license="'null'"))).models["m"].license == "null"


def test_a_list_where_a_text_is_wanted_is_refused() -> None:
    assert error(body(model(sha256=A, license="[a]"))) == (
        "m/a.yaml:6:14: models.m.license: wanted a single value, got a list"
    )


def test_a_text_where_a_list_is_wanted_is_refused() -> None:
    assert error(body(model(sha256=A, labels="chat"))) == "m/a.yaml:6:13: models.m.labels: wanted a list, got 'chat'"


def test_every_bad_item_of_a_list_is_reported() -> None:
    assert errors(body(model(sha256=A, labels="[a, [b], {c: d}, ~]"))) == [
        "m/a.yaml:6:17: models.m.labels[1]: wanted a single value, got a list",
        "m/a.yaml:6:22: models.m.labels[2]: wanted a single value, got a map",
        "m/a.yaml:6:30: models.m.labels[3]: wanted a text on one line, got nothing",
    ]


def test_an_empty_section_is_an_error_with_a_way_out() -> None:
    assert error(body("models:\n")) == "m/a.yaml:2:8: models: wanted a map of model names, got nothing"
    assert hint(body("models:\n")) == "remove the key, or write {}"
    assert hint(body("moved: ~\n")) == "remove the key, or write []"
    assert error(body("concurrency: []\n")) == "m/a.yaml:2:14: concurrency: wanted a map, got a list"
    assert desired(body("models: {}\nmoved: []\n")).models == {}


# ---- figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["0", "4683073536", str(10**15)])
def test_sizes_of_files_are_whole_numbers(value: str) -> None:
    assert desired(body(model(sha256=A, bytes=value))).models["m"].files[0].size_bytes == int(value)


@pytest.mark.parametrize(
    "value", ["-1", "1.5", "1e3", "0x12", "two", "4GiB", "'12'", "012", "1_000", "+5", "~", str(10**15 + 1), "9" * 5000]
)
def test_other_sizes_of_files_are_refused(value: str) -> None:
    assert ": models.m.bytes: wanted a whole number of at least 0, got " in error(body(model(sha256=A, bytes=value)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("'12'", "remove the quotes"),
        ("012", "write 12: leading zeros, signs and underscores mean different things in YAML 1.1 and 1.2"),
        ("1_000", "write 1000: leading zeros, signs and underscores mean different things in YAML 1.1 and 1.2"),
        ("two", None),
        ("0x12", None),
    ],
)
def test_the_hint_at_a_bad_number_is_the_number_that_was_meant(value: str, expected: str | None) -> None:
    assert hint(body(model(sha256=A, bytes=value))) == expected


def test_limits_are_read() -> None:
    text = "concurrency: {max: 3, hard_cap: 5, per_host: 1}\n"
    assert desired(body(text)).limits == Limits(max=3, hard_cap=5, per_host=1)


def test_limits_keep_their_defaults() -> None:
    assert desired(body("concurrency: {max: 3}\n")).limits == Limits(max=3)


@pytest.mark.parametrize("key", ["max", "hard_cap", "per_host"])
@pytest.mark.parametrize("value", ["0", "-2", "two"])
def test_a_limit_is_at_least_one(key: str, value: str) -> None:
    column = 17 + len(key)
    assert error(body(f"concurrency: {{{key}: {value}}}\n")) == (
        f"m/a.yaml:2:{column}: concurrency.{key}: wanted a whole number of at least 1, got {value!r}"
    )


def test_the_prune_policy_is_read() -> None:
    text = "pruning: {mode: orphans, ttl: 0s, quarantine: 7d, keep: 2, max_delete: {share: 12.5%, bytes: 200GiB}}\n"
    assert desired(body(text)).pruning == PrunePolicy(0.0, 604_800.0, 2, 0.125, 200 * 2**30)


def test_a_share_of_nothing_is_not_the_default() -> None:
    assert desired(body("pruning: {max_delete: {share: 0%}}\n")).pruning.max_delete_share == 0.0


@pytest.mark.parametrize(("value", "seconds"), [("90", 90), ("1.5", 1.5), ("30s", 30), ("5m", 300), ("24h", 86400)])
def test_a_bare_number_is_seconds(value: str, seconds: float) -> None:
    assert desired(body(f"pruning: {{ttl: {value}}}\n")).pruning.ttl_s == seconds


@pytest.mark.parametrize("value", ["soon", "-5m", "5 minutes", "1w", "~", "101y", "9" * 400, "٣s", "36501d"])
def test_other_durations_are_refused(value: str) -> None:
    assert error(body(f"pruning: {{ttl: {value}}}\n")).startswith("m/a.yaml:2:16: pruning.ttl: wanted a duration ")


@pytest.mark.parametrize("value", ["lots", "-1", "10XB", "~", "9" * 400, "2000TB"])
def test_other_sizes_are_refused(value: str) -> None:
    message = error(body(f"pruning: {{max_delete: {{bytes: {value}}}}}\n"))
    assert message.startswith("m/a.yaml:2:31: pruning.max_delete.bytes: wanted a size ")


@pytest.mark.parametrize("value", ["0.3", "30", "101%", "-1%", "x", "~"])
def test_a_share_is_a_percentage(value: str) -> None:
    message = error(body(f"pruning: {{max_delete: {{share: {value}}}}}\n"))
    assert message.startswith("m/a.yaml:2:31: pruning.max_delete.share: wanted a percentage from 0% to 100%, got ")


# ---- choices ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["lru", "quota"])
def test_a_known_choice_of_a_later_version_is_named_as_such(value: str) -> None:
    text = body(f"pruning: {{mode: {value}}}\n")
    assert error(text) == (f"m/a.yaml:2:17: pruning.mode: {value!r} is not supported by this version; wanted orphans")
    assert reasons(text) == ["UnsupportedValue"]


def test_an_unknown_choice_names_the_known_ones() -> None:
    assert error(body(model(sha256=A, adopt="move"))) == (
        "m/a.yaml:6:12: models.m.adopt: wanted clone or hardlink, got 'move'"
    )


def test_adopt_is_read() -> None:
    assert desired(body(model(sha256=A, adopt="hardlink"))).models["m"].transfer.adopt is Adopt.HARDLINK


@pytest.mark.parametrize(
    ("value", "meant"), [("yes", "true"), ("Off", "false"), ("'true'", "true"), ("TRUE", "true"), ("n", "false")]
)
def test_only_true_and_false_are_truth_values(value: str, meant: str) -> None:
    text = body(f"egress: {{allow_http: {value}}}\n")
    assert ": egress.allow_http: wanted true or false, got " in error(text)
    assert hint(text) == f"write {meant}, without quotes: YAML 1.2 knows no other truth values"


def test_other_texts_are_no_truth_values_and_nothing_is_guessed() -> None:
    assert hint(body("egress: {allow_http: maybe}\n")) is None


# ---- egress ----------------------------------------------------------------------------------


def test_egress_rules_are_read() -> None:
    text = 'egress: {allow: [huggingface.co, "*.hf.co", 127.0.0.1:8080], allow_http: true, allow_private: false}\n'
    rules = (
        HostRule("huggingface.co", None, subdomains=False),
        HostRule("hf.co", None, subdomains=True),
        HostRule("127.0.0.1", 8080, subdomains=False),
    )
    assert desired(body(text)).egress == EgressPolicy(rules, allow_http=True, allow_private=False)


def test_an_empty_list_of_hosts_allows_none() -> None:
    assert desired(body("egress: {allow: []}\n")).egress.allow == ()


def test_every_host_is_not_a_host() -> None:
    assert error(body("egress: {allow: ['*']}\n")).endswith("wanted a host (for every one leave `allow` out), got '*'")


@pytest.mark.parametrize("value", ['"https://x.io"', "a/b", "u@h", '"a b"', '"*"', "a*b", "'h:99999'", "'[::1'"])
def test_a_bad_host_is_refused_at_its_position(value: str) -> None:
    assert error(body(f"egress:\n  allow:\n  - ok.io\n  - {value}\n")).startswith("m/a.yaml:5:5: egress.allow[1]: ")


@pytest.mark.parametrize("port", ["0", "70000", "abc", "-1"])
def test_a_port_of_a_host_is_told_its_range(port: str) -> None:
    text = body(f"egress: {{allow: [x.io, 'a.io:{port}']}}\n")
    wanted = "wanted a port from 1 to 65535 after the host, or none for any"
    assert error(text) == f"m/a.yaml:2:24: egress.allow[1]: {wanted}, got 'a.io:{port}'"
    assert hint(text) == "write HOST, HOST:PORT or '*.HOST'"
