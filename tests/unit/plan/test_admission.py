"""Whether a fetch may start."""

from __future__ import annotations

import pytest

from reconciler.core.action import Action, Fetch
from reconciler.core.desired import Adopt, ModelSpec, Transfer
from reconciler.core.egress import EgressPolicy, host_port, parse_host_rule
from reconciler.core.job import Code
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.source import HuggingFaceFile, LocalFile, Source, WebFile
from tests.builders import desired, digest, file, find, foreign, gone, model, observed, plan, web

MIB = 2**20
RESERVE = 256 * MIB


def _fetch(made: Plan, tag: str) -> Action:
    return find(made, "Fetch", digest(tag))


def _blocked(*sources: Source, egress: EgressPolicy = EgressPolicy(), policy: PlanPolicy = PlanPolicy()) -> Action:  # noqa: B008
    return _fetch(plan(desired(model("m", file("a", sources=sources)), egress=egress), observed(), policy), "a")


# ---- sources -----------------------------------------------------------------------------------


def test_a_public_https_source_may_be_asked() -> None:
    assert _blocked(web("a")).blocked is None


def test_a_refused_host_blocks_and_the_query_is_not_told() -> None:
    egress = EgressPolicy(allow=(parse_host_rule("huggingface.co"),))

    action = _blocked(WebFile("https://user:pw@example.com/a.gguf?token=secret"), egress=egress)

    assert action.blocked is not None
    assert (action.blocked.reason, action.blocked.code) == ("EgressDenied", Code.EGRESS_DENIED)
    assert action.blocked.message == "https://example.com/a.gguf: example.com:443 is not in egress.allow"


def test_http_is_blocked_unless_allowed() -> None:
    source = WebFile("http://example.com/a.gguf")

    assert _blocked(source).blocked is not None
    assert _blocked(source, egress=EgressPolicy(allow_http=True)).blocked is None


def test_a_private_address_is_blocked_unless_allowed() -> None:
    source = WebFile("https://10.0.0.7/a.gguf")

    assert _blocked(source).blocked is not None
    assert _blocked(source, egress=EgressPolicy(allow_private=True)).blocked is None


def test_a_source_that_may_be_asked_is_enough_and_only_such_are_tried() -> None:
    good = web("a", "mirror.example")

    action = _blocked(WebFile("http://example.com/a"), good, WebFile("https://127.0.0.1/a"))

    assert action.blocked is None
    assert isinstance(action.operation, Fetch)
    assert action.operation.sources == (good,)


def test_when_no_source_may_be_asked_the_reasons_of_all_are_told_once() -> None:
    action = _blocked(WebFile("http://example.com/a"), WebFile("http://example.com/a"), WebFile("http://two.example/a"))

    assert action.blocked is not None
    assert action.blocked.message.split("; ") == [
        "http://example.com/a: the scheme is http and egress.allow_http is not set",
        "http://two.example/a: the scheme is http and egress.allow_http is not set",
    ]


def test_offline_blocks_everything_but_files_of_this_machine() -> None:
    policy = PlanPolicy(offline=True)
    here = LocalFile("/srv/manifests/a.gguf", "/srv/manifests")

    assert _blocked(here, policy=policy).blocked is None
    assert _blocked(here, web("a"), policy=policy).blocked is None
    refused = _blocked(web("a"), policy=policy).blocked
    assert refused is not None
    assert (refused.reason, refused.code) == ("Offline", Code.EGRESS_DENIED)


def test_a_hub_file_is_judged_by_where_the_hub_really_is() -> None:
    source = HuggingFaceFile("org/repo", "0" * 40, "a.gguf")
    mirror = PlanPolicy(hub_url="http://127.0.0.1:8080")

    assert _blocked(source).blocked is None
    assert _blocked(source, policy=mirror).blocked is not None
    exempt = PlanPolicy(hub_url="http://127.0.0.1:8080", endpoint=host_port("http://127.0.0.1:8080"))
    assert _blocked(source, policy=exempt).blocked is None
    other = PlanPolicy(hub_url="http://127.0.0.1:8080", endpoint=host_port("http://127.0.0.1:9999"))
    assert _blocked(source, policy=other).blocked is not None


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/srv/manifests/a.gguf", True),
        ("/srv/manifests/sub/a.gguf", True),
        ("/srv/manifests", True),
        ("/srv/manifests-other/a.gguf", False),
        ("/srv/a.gguf", False),
        ("/data/models/a.gguf", True),
        ("/data/models-other/a.gguf", False),
    ],
)
def test_a_file_must_lie_below_its_manifest_or_an_allowed_folder(path: str, *, allowed: bool) -> None:
    action = _blocked(LocalFile(path, "/srv/manifests"), policy=PlanPolicy(file_roots=("/data/models/",)))

    assert (action.blocked is None) is allowed
    if action.blocked is not None:
        assert (action.blocked.reason, action.blocked.code) == ("PathNotAllowed", Code.ADMISSION_DENIED)


def test_the_root_folder_allows_everything_below_it() -> None:
    assert _blocked(LocalFile("/anywhere/a", "/srv"), policy=PlanPolicy(file_roots=("/",))).blocked is None


def test_a_blocked_fetch_is_no_job_and_holds_its_entry_back() -> None:
    made = plan(desired(model("m", file("a", sources=(web("a"),)))), observed(), PlanPolicy(offline=True))

    assert made.jobs == ()
    assert find(made, "WriteEntry").depends_on == (_fetch(made, "a").id,)
    assert made.peak_disk_bytes == 0


def test_bytes_that_are_here_need_no_source() -> None:
    made = plan(desired(model("m", "a")), observed(foreign("a")), PlanPolicy(offline=True))

    assert not made.blocked


# ---- disk --------------------------------------------------------------------------------------


def _admitted(*models: ModelSpec, free: int) -> dict[str, bool]:
    made = plan(desired(*models), observed(free=RESERVE + free))
    return {a.owners[0]: a.blocked is None for a in made.actions if a.op == "Fetch"}


def test_what_fits_beside_the_reserve_is_admitted_to_the_byte() -> None:
    assert _admitted(model("m", file("a", size=1000)), free=1000) == {"models/m": True}
    assert _admitted(model("m", file("a", size=1000)), free=999) == {"models/m": False}


def test_downloads_are_summed_in_order() -> None:
    models = (model("a", file("a", size=600)), model("b", file("b", size=600)))

    assert _admitted(*models, free=1000) == {"models/a": True, "models/b": False}


def test_an_object_that_does_not_fit_does_not_hold_back_a_smaller_one() -> None:
    models = (model("a", file("a", size=6000)), model("b", file("b", size=600)))

    assert _admitted(*models, free=1000) == {"models/a": False, "models/b": True}


def test_an_object_is_admitted_as_a_whole() -> None:
    made = plan(desired(model("m", file("a", size=600), file("b", size=600))), observed(free=RESERVE + 1000))

    assert [a.blocked.reason if a.blocked else None for a in made.actions if a.op == "Fetch"] == [
        "DiskInsufficient",
        "DiskInsufficient",
    ]
    assert made.jobs == ()


def test_the_figures_are_told() -> None:
    made = plan(desired(model("m", file("a", size=10**9))), observed(free=5 * 10**8))

    blocked = _fetch(made, "a").blocked
    assert blocked is not None
    assert blocked.code is Code.DISK_INSUFFICIENT
    assert blocked.message == ("needs 1.0 GB, but only 231.6 MB can be used: 500.0 MB free, 268.4 MB reserved")


def test_what_goes_to_fetches_before_it_is_told() -> None:
    both = desired(model("m", file("a", size=2 * 10**8)), model("n", file("b", size=10**9)))
    blocked = _fetch(plan(both, observed(free=5 * 10**8)), "b").blocked
    assert blocked is not None
    assert blocked.message == (
        "needs 1.0 GB, but only 31.6 MB can be used: 500.0 MB free, 268.4 MB reserved, 200.0 MB for fetches before it"
    )


def test_a_disk_below_its_reserve_admits_nothing_that_needs_room() -> None:
    made = plan(desired(model("m", file("a", size=1))), observed(free=RESERVE - 10))

    assert _fetch(made, "a").blocked is not None


def test_an_unknown_size_is_admitted_later_and_counted_apart() -> None:
    made = plan(desired(model("m", file("a", size=None), file("b", size=5))), observed(free=RESERVE + 5))

    assert not made.blocked
    assert (made.fetch.count, made.fetch.bytes, made.fetch.unknown) == (2, 5, 1)


def test_an_unknown_size_is_admitted_even_on_a_full_disk() -> None:
    assert not plan(desired(model("m", file("a", size=None))), observed(free=0)).blocked


def test_only_what_is_still_missing_needs_room() -> None:
    found = observed(gone("a", part=900), free=RESERVE + 100)

    assert not plan(desired(model("m", file("a", size=1000))), found).blocked


def test_a_hard_link_needs_no_room_but_a_copy_and_a_download_do() -> None:
    here = (LocalFile("/srv/a", "/srv"),)
    linked = Transfer(adopt=Adopt.HARDLINK)

    def peak(spec: ModelSpec) -> int:
        return plan(desired(spec), observed()).peak_disk_bytes

    assert peak(model("m", file("a", sources=here), transfer=linked)) == 0
    assert peak(model("m", file("a", sources=here))) == 100
    assert peak(model("m", file("a", sources=(*here, web("a"))), transfer=linked)) == 100


def test_what_is_adopted_needs_no_room() -> None:
    assert not plan(desired(model("m", "a")), observed(foreign("a"), free=0)).blocked


def test_a_blocked_source_takes_no_room_from_others() -> None:
    models = (
        model("a", file("a", size=600, sources=(WebFile("http://example.com/a"),))),
        model("b", file("b", size=600)),
    )

    assert _admitted(*models, free=600) == {"models/a": False, "models/b": True}


def test_free_space_afterwards_counts_what_comes() -> None:
    made = plan(desired(model("m", file("a", size=1000))), observed(free=10**9))

    assert (made.peak_disk_bytes, made.free_after_bytes) == (1000, 10**9 - 1000)
