"""What the settings sections say about downloads: how much, how long, how urgent, and when."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no annotations

from reconciler.core.desired import Budgets, Limits, Transfer, Window
from reconciler.manifest.schema import schema_text
from tests.unit.manifest.trees import HEADER, A, B, body, desired, error, errors, file, hint, loaded, reasons

MIB = 2**20
VALIDATOR = Draft202012Validator(json.loads(schema_text()))


# ---- concurrency and defaults ------------------------------------------------------------------


@pytest.mark.parametrize(("value", "rate"), [("200MiB", 200 * MIB), ("1", 1), ("'1.5 MB'", 1_500_000), ("0.2", 1)])
def test_a_bandwidth_is_bytes_per_second(value: str, rate: int) -> None:
    assert desired(body(f"concurrency: {{bandwidth: {value}}}\n")).limits == Limits(bandwidth_bytes_per_s=rate)


@pytest.mark.parametrize("value", ["0", "0MiB", "0.0", "-1", "fast", "200MiB/s", "~", "2000TB"])
def test_other_bandwidths_are_refused(value: str) -> None:
    assert error(body(f"concurrency: {{bandwidth: {value}}}\n")).startswith(
        "m/a.yaml:2:26: concurrency.bandwidth: wanted a size "
    )


@pytest.mark.parametrize(
    ("value", "way_out"),
    [
        ("5MiB/s", "it is per second as it stands: write 5MiB"),
        ("5 MB/s", "it is per second as it stands: write 5 MB"),
        ("80Mbit", "it counts bytes per second, not bits: 80Mbit/s are 10MB"),
        ("10mbps", "it counts bytes per second, not bits: 80Mbit/s are 10MB"),
        ("5Mb/s", "it counts bytes per second, not bits: 80Mbit/s are 10MB"),
        ("fast", "it counts bytes per second, and is written without /s: 200MiB"),
        ("0/s", "it counts bytes per second, and is written without /s: 200MiB"),
    ],
)
def test_a_bandwidth_that_is_written_otherwise_says_how_it_is_written(value: str, way_out: str) -> None:
    assert hint(body(f"concurrency: {{bandwidth: {value}}}\n")) == way_out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "concurrency: {max: 20, hard_cap: 4}",
            "2:20: concurrency.max: 20 is more than hard_cap, which is 4: no more than 4 run at once",
        ),
        (
            "concurrency: {max: 17}",
            "2:20: concurrency.max: 17 is more than hard_cap, which is 16 by default: no more than 16 run at once",
        ),
        (
            "budgets: {quota: 1GB, max_size: 2GB}",
            "2:33: budgets.max_size: 2.0 GB is more than quota, which is 1.0 GB: "
            "a file larger than that finds no room in the store",
        ),
    ],
)
def test_a_limit_that_another_one_makes_useless_is_a_warning(settings: str, said: str) -> None:
    found = loaded(body(f"{settings}\n"))
    assert found.errors == ()
    assert found.warnings == (f"m/a.yaml:{said}",)


@pytest.mark.parametrize(
    "settings",
    ["concurrency: {max: 4, hard_cap: 4}", "concurrency: {hard_cap: 1}", "budgets: {quota: 1GB, max_size: 1GB}",
     "budgets: {max_size: 1TB}"],
)  # fmt: skip
def test_limits_that_go_together_are_no_warning(settings: str) -> None:
    assert loaded(body(f"{settings}\n")).warnings == ()


def test_segments_hold_for_models_and_adapters() -> None:
    text = (
        f"models: {{m: {{source: https://x.io/m, sha256: {A}}}}}\n"
        f"adapters: {{a: {{base: m, source: https://x.io/a, sha256: {B}}}}}\n"
    )
    state = desired(body(f"{text}defaults: {{segments: 4}}\n"))
    assert state.models["m"].transfer == state.adapters["a"].transfer == Transfer(segments=4)
    assert desired(body(text)).models["m"].transfer.segments is None


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_there_is_at_least_one_segment(value: str) -> None:
    assert error(body(f"defaults: {{segments: {value}}}\n")) == (
        f"m/a.yaml:2:22: defaults.segments: wanted a whole number from 1 to 16, got {value!r}"
    )


@pytest.mark.parametrize("value", ["17", "100000"])
def test_there_are_no_more_segments_than_a_host_bears(value: str) -> None:
    assert error(body(f"defaults: {{segments: {value}}}\n")) == (
        f"m/a.yaml:2:22: defaults.segments: wanted a whole number from 1 to 16, got {value!r}"
    )


# ---- priority ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 5, -3, 1_000_000, -1_000_000])
def test_a_priority_may_be_below_zero(value: int) -> None:
    text = f"models: {{m: {{source: https://x.io/m, sha256: {A}, priority: {value}}}}}\n"
    assert desired(body(text)).models["m"].priority == value


def test_a_priority_is_zero_unless_the_model_or_its_catalog_entry_says_otherwise() -> None:
    text = (
        "catalog: {big: {priority: 7}}\n"
        "models:\n"
        f"  own: {{catalog: big, source: https://x.io/m, sha256: {A}, priority: -1}}\n"
        f"  inherited: {{catalog: big, source: https://x.io/n, sha256: {B}}}\n"
        f"  silent: {{source: https://x.io/n, sha256: {B}}}\n"
    )
    priorities = {name: model.priority for name, model in desired(body(text)).models.items()}
    assert priorities == {"own": -1, "inherited": 7, "silent": 0}


@pytest.mark.parametrize("value", ["high", "1.5", "'1'", "1000001", "-1000001", "-0"])
def test_other_priorities_are_refused(value: str) -> None:
    text = f"models:\n  m: {{source: https://x.io/m, sha256: {A}, priority: {value}}}\n"
    assert ": models.m.priority: wanted a whole number from -1000000 to 1000000, got " in error(body(text))


# ---- budgets -----------------------------------------------------------------------------------


def test_budgets_are_read() -> None:
    text = "budgets: {soft: 30m, hard: 6h, degrade_at: 50%, max_size: 100GiB, quota: 2TiB, reserve: 1GiB}\n"
    assert desired(body(text)).budgets == Budgets(1800.0, 21_600.0, 0.5, 100 * 2**30, 2 * 2**40, 2**30)


def test_budgets_keep_their_defaults() -> None:
    assert desired(body("budgets: {}\n")).budgets == Budgets()
    assert desired(body("budgets: {quota: 5}\n")).budgets == Budgets(quota_bytes=5)
    assert desired(body("budgets: {soft: 2}\n")).budgets == Budgets(soft_s=2.0, degrade_share=0.8)


def test_everything_may_be_used_up_when_nothing_is_reserved() -> None:
    assert desired(body("budgets: {reserve: 0}\n")).budgets.reserve_bytes == 0


@pytest.mark.parametrize("key", ["soft", "hard"])
@pytest.mark.parametrize("value", ["0", "0s", "0.0h", "-1s", "soon", "~", "101y"])
def test_a_time_budget_is_a_duration_above_zero(key: str, value: str) -> None:
    message = error(body(f"budgets: {{{key}: {value}}}\n"))
    assert message.startswith(f"m/a.yaml:2:{13 + len(key)}: budgets.{key}: wanted a duration ")


@pytest.mark.parametrize("key", ["max_size", "quota"])
@pytest.mark.parametrize("value", ["0", "0GiB", "all", "~"])
def test_a_space_budget_is_a_size_above_zero(key: str, value: str) -> None:
    message = error(body(f"budgets: {{{key}: {value}}}\n"))
    assert message.startswith(f"m/a.yaml:2:{13 + len(key)}: budgets.{key}: wanted a size above 0, such as ")


@pytest.mark.parametrize("value", ["0%", "0.00%", "101%", "80", "-1%"])
def test_a_download_is_degraded_after_some_share_of_its_budget(value: str) -> None:
    assert error(body(f"budgets: {{degrade_at: {value}}}\n")) == (
        f"m/a.yaml:2:23: budgets.degrade_at: wanted a percentage above 0% and up to 100%, got {value!r}"
    )


@pytest.mark.parametrize("value", ["100%", "0.1%"])
def test_the_whole_budget_is_a_share_of_it_too(value: str) -> None:
    assert desired(body(f"budgets: {{degrade_at: {value}}}\n")).budgets.degrade_share == float(value[:-1]) / 100


def test_a_soft_budget_is_not_above_the_hard_one() -> None:
    text = body("budgets:\n  hard: 5m\n  soft: 301\n")
    assert error(text) == "m/a.yaml:4:9: budgets.soft: wanted at most the hard budget of 5m, got 5m 1s"
    assert hint(text) == "raise hard, or lower soft"
    assert reasons(text) == ["Conflict"]
    assert desired(body("budgets: {hard: 5m, soft: 300}\n")).budgets.soft_s == 300.0


def test_a_conflict_between_two_files_is_reported_where_the_soft_budget_stands() -> None:
    hard = file(HEADER + "budgets: {hard: 1m}\n", "m/a.yaml")
    soft = file(HEADER + "budgets: {soft: 1h}\n", "m/b.yaml")
    assert errors(hard, soft) == ["m/b.yaml:2:17: budgets.soft: wanted at most the hard budget of 1m, got 1h"]


def test_a_budget_in_two_files_is_a_duplicate() -> None:
    one, two = (file(HEADER + f"budgets: {{quota: {n}}}\n", f"m/{n}.yaml") for n in (1, 2))
    assert errors(one, two) == ["m/2.yaml:2:11: budgets.quota: already declared at m/1.yaml:2:11"]


def test_a_broken_hard_budget_is_not_also_below_the_soft_one() -> None:
    assert len(errors(body("budgets: {hard: soon, soft: 1h}\n"))) == 1


# ---- windows -----------------------------------------------------------------------------------


def windows(text: str) -> tuple[Window, ...]:
    return desired(body(f"schedule: {{downloads: [{text}]}}\n")).schedule.downloads


def window_error(text: str) -> tuple[str, str | None]:
    found = body(f"schedule:\n  downloads:\n  - {{{text}}}\n")
    return error(found), hint(found)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("22:00-06:00", 1320, 360),
        ("00:00-24:00", 0, 1440),
        ("23:59-00:00", 1439, 0),
        ("09:30-17:45", 570, 1065),
        ("'22:00-24:00'", 1320, 1440),
    ],
)
def test_a_window_is_two_times_of_day(text: str, start: int, end: int) -> None:
    assert windows(f"{{window: {text}}}") == (Window(start, end),)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon", {0}),
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("sat,sun", {5, 6}),
        ("'mon-wed, fri'", {0, 1, 2, 4}),
        ("fri-mon", {4, 5, 6, 0}),
        ("sun-sun", {6}),
        ("mon-sun", {0, 1, 2, 3, 4, 5, 6}),
        ("mon,mon-tue", {0, 1}),
    ],
)
def test_days_are_names_and_ranges(text: str, days: set[int]) -> None:
    written = text if text.startswith("'") else f"'{text}'"
    assert windows(f"{{window: 01:00-02:00, days: {written}}}") == (Window(60, 120, frozenset(days)),)


def test_there_may_be_several_windows_and_they_are_united_over_files() -> None:
    one = file(HEADER + "schedule: {downloads: [{window: 01:00-02:00}, {window: 03:00-04:00}]}\n", "m/a.yaml")
    two = file(HEADER + "schedule: {downloads: [{window: 05:00-06:00}], timezone: Europe/Berlin}\n", "m/b.yaml")
    schedule = desired(one, two).schedule
    assert schedule.downloads == (Window(60, 120), Window(180, 240), Window(300, 360))
    assert schedule.timezone == "Europe/Berlin"


def test_without_windows_downloads_always_run() -> None:
    assert windows("") == desired(body("models: {}\n")).schedule.downloads == ()


@pytest.mark.parametrize(
    "text", ["22-06", "22:00", "25:00-06:00", "24:00-06:00", "22:00-06:60", "9:00-10:00", "22:00 - 06:00", "~", ""]
)
def test_other_windows_are_refused_at_their_value(text: str) -> None:
    message, way_out = window_error(f"window: {text}")
    got = repr(text) if text not in ("~", "") else "nothing"
    assert message.startswith("m/a.yaml:4:")
    assert message.endswith(f"schedule.downloads[0].window: wanted two times of day such as 22:00-06:00, got {got}")
    assert way_out == "write hours and minutes: HH:MM-HH:MM, the end up to 24:00"


def test_a_window_without_an_inside_is_refused() -> None:
    message, way_out = window_error("window: 06:00-06:00")
    assert message == (
        "m/a.yaml:4:14: schedule.downloads[0].window: "
        "wanted a window that ends at another time than it begins, got '06:00-06:00'"
    )
    assert way_out == "write 00:00-24:00 for the whole day"


@pytest.mark.parametrize("text", ["monday", "Mon", "0-4", "mon-", "'mon,'", "mon fri", "mon--fri", "weekdays", "~"])
def test_other_days_are_refused_at_their_value(text: str) -> None:
    message, way_out = window_error(f"window: 01:00-02:00, days: {text}")
    assert message.startswith("m/a.yaml:4:33: schedule.downloads[0].days: wanted weekdays such as mon-fri or sat,sun, ")
    assert way_out == "days are called mon, tue, wed, thu, fri, sat, sun"


def test_days_as_a_list_are_told_how_they_are_written() -> None:
    message, way_out = window_error("window: 01:00-02:00, days: [mon, fri]")
    assert message == "m/a.yaml:4:33: schedule.downloads[0].days: wanted a single value, got a list"
    assert way_out == "write one text, such as mon-fri or 'sat,sun'; days are called mon, tue, wed, thu, fri, sat, sun"


def test_an_entry_needs_its_times() -> None:
    assert window_error("days: mon") == (
        "m/a.yaml:4:5: schedule.downloads[0]: the key 'window' is missing",
        "for example `window: 22:00-06:00`",
    )


def test_an_unknown_key_of_an_entry_is_refused() -> None:
    message, way_out = window_error("window: 01:00-02:00, day: mon")
    assert message == "m/a.yaml:4:27: schedule.downloads[0].day: unknown key 'day'"
    assert way_out == "did you mean 'days'?"


# ---- the schema says the same ------------------------------------------------------------------

REFUSED = [
    {"budgets": {"soft": 0}},
    {"budgets": {"hard": "0s"}},
    {"budgets": {"degrade_at": "0%"}},
    {"budgets": {"max_size": 0}},
    {"budgets": {"quota": "0.0 GiB"}},
    {"budgets": {"reserve": -1}},
    {"budgets": {"soft_limit": 1}},
    {"concurrency": {"bandwidth": "0MiB"}},
    {"defaults": {"segments": 0}},
    {"schedule": {"downloads": {"window": "01:00-02:00"}}},
    {"schedule": {"downloads": [{}]}},
    {"schedule": {"downloads": [{"window": "24:00-01:00"}]}},
    {"schedule": {"downloads": [{"window": "01:00-02:00", "days": "monday"}]}},
    {"catalog": {"c": {"priority": 1_000_001}}},
    {"catalog": {"c": {"priority": "1"}}},
]


@pytest.mark.parametrize("section", REFUSED, ids=str)
def test_what_the_loader_refuses_the_schema_refuses_too(section: dict[str, object]) -> None:
    document = {"apiVersion": "reconciler/v1", **section}
    assert loaded(file(json.dumps(document))).desired is None
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("budgets: {degrade_at: 80}\n", "write 80%"),
        ("budgets: {degrade_at: 800}\n", None),
        ("schedule: {downloads: {between: 22:00-06:00}}\n", "write a list: each item begins with `- `"),
    ],
)
def test_the_hint_at_a_share_or_a_list_is_what_was_meant(text: str, meant: str | None) -> None:
    assert hint(body(text)) == meant
