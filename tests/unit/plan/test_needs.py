"""One need per digest, however many objects want it."""

from __future__ import annotations

from reconciler.core.desired import Transfer
from reconciler.plan.needs import needs
from tests.builders import adapter, desired, digest, file, model, web


def test_every_declared_file_is_a_need_of_its_object() -> None:
    found = needs(desired(model("m", "a", "b"), adapter("l", "m", "c")))

    assert {need.digest: need.owners for need in found.values()} == {
        digest("a"): ("models/m",),
        digest("b"): ("models/m",),
        digest("c"): ("adapters/l",),
    }


def test_a_shared_digest_is_one_need_whose_first_owner_is_the_first_model_by_name() -> None:
    found = needs(desired(model("z", "same"), model("a", "same"), adapter("l", "a", "same")))

    assert found[digest("same")].owners == ("models/a", "models/z", "adapters/l")


def test_an_object_that_names_a_digest_twice_owns_it_once() -> None:
    found = needs(desired(model("m", file("a", "one.json"), file("a", "two.json"))))

    assert found[digest("a")].owners == ("models/m",)


def test_the_sources_of_all_owners_are_tried_in_order_and_each_once() -> None:
    one = model("a", file("same", sources=(web("same", "one.example"), web("same", "two.example"))))
    two = model("b", file("same", sources=(web("same", "two.example"), web("same", "three.example"))))

    found = needs(desired(two, one))

    assert found[digest("same")].sources == (
        web("same", "one.example"),
        web("same", "two.example"),
        web("same", "three.example"),
    )


def test_a_size_that_any_owner_declares_is_known() -> None:
    found = needs(desired(model("a", file("same", size=None)), model("b", file("same", size=7))))

    assert found[digest("same")].size_bytes == 7


def test_the_most_urgent_bytes_come_first_and_the_others_keep_their_order() -> None:
    found = needs(
        desired(
            model("a", "a"),
            model("b", "b", priority=1),
            model("c", "c", priority=-1),
            model("d", "d", priority=1),
            adapter("e", "a", "e"),
        )
    )

    assert list(found) == [digest(tag) for tag in "bdaec"]


def test_bytes_are_as_urgent_as_the_most_urgent_that_wants_them() -> None:
    found = needs(desired(model("a", "same", "own", priority=-5), model("b", "other"), model("c", "same", priority=3)))

    assert [(need.digest, need.priority) for need in found.values()] == [
        (digest("same"), 3),
        (digest("other"), 0),
        (digest("own"), -5),
    ]
    assert found[digest("same")].owners == ("models/a", "models/c"), "who comes first stays first"


def test_the_first_owner_says_how_the_bytes_are_transferred() -> None:
    found = needs(
        desired(model("a", "same", transfer=Transfer(retries=9)), model("b", "same", transfer=Transfer(retries=1)))
    )

    assert found[digest("same")].transfer == Transfer(retries=9)
