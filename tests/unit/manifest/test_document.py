"""The form of a YAML text: limits, duplicates, tags, several documents, syntax errors."""

from __future__ import annotations

import pytest

from reconciler.manifest.document import MAX_ALIASED_NODES, MAX_ALIASES, MAX_DEPTH, MAX_FILE_BYTES, parse
from reconciler.manifest.nodes import ListNode, MapNode, Node, ScalarNode
from reconciler.manifest.problems import Problems
from tests.unit.manifest.trees import file


def parsed(text: str | bytes) -> tuple[list[object], list[str]]:
    """The documents of `text` as plain values, and what is wrong with it."""
    problems = Problems()
    documents = parse(file(text if isinstance(text, bytes) else text.encode(), "a.yaml"), problems).documents
    return [plain(root) for root in documents], [str(problem) for problem in problems.report()]


def plain(node: Node) -> object:
    match node:
        case ScalarNode():
            return node.text
        case ListNode():
            return [plain(item) for item in node.items]
        case MapNode():
            return {key.text: plain(value) for key, value in node.entries}


def problem(text: str | bytes) -> str:
    (only,) = parsed(text)[1]
    return only


def hint(text: str | bytes) -> str | None:
    problems = Problems()
    parse(file(text if isinstance(text, bytes) else text.encode()), problems)
    (only,) = problems.report()
    return only.hint


def test_scalars_stay_text_and_know_whether_they_were_quoted() -> None:
    problems = Problems()
    (root,) = parse(file(b"a: NO\nb: '12'\nc: |\n  x\n"), problems).documents
    assert isinstance(root, MapNode)
    values = [value for _, value in root.entries]
    assert values == [
        ScalarNode("NO", plain=True, line=1, column=4),
        ScalarNode("12", plain=False, line=2, column=4),
        ScalarNode("x\n", plain=False, line=3, column=4),
    ]


def test_a_file_holds_several_documents_and_empty_ones_do_not_count() -> None:
    assert parsed("# only a comment\n---\na: 1\n---\n---\n# nothing\n---\nb: 2\n") == ([{"a": "1"}, {"b": "2"}], [])


def test_an_empty_file_has_no_documents() -> None:
    assert parsed("") == ([], [])
    assert parsed("# comment\n") == ([], [])


def test_a_duplicate_key_is_reported_at_the_second_and_the_first_one_holds() -> None:
    documents, problems = parsed("a:\n  x: 1\n  y: 2\n  x: 3\n")
    assert documents == [{"a": {"x": "1", "y": "2"}}]
    assert problems == ["a.yaml:4:3: a.x: duplicate key 'x'; the first is at a.yaml:2:3"]


def test_every_further_duplicate_is_reported() -> None:
    assert len(parsed("a: 1\na: 2\na: 3\n")[1]) == 2


def test_a_duplicate_key_is_found_through_an_alias_and_through_quotes() -> None:
    assert problem("&k a: 1\n*k : 2\n").startswith("a.yaml:1:1: a: duplicate key 'a'")
    assert problem("a: 1\n'a': 2\n").startswith("a.yaml:2:1: a: duplicate key 'a'")


def test_a_key_that_is_no_text_is_refused_and_the_rest_is_read() -> None:
    documents, problems = parsed("[x]: 1\nb: 2\n")
    assert documents == [{"b": "2"}]
    assert problems == ["a.yaml:1:1: wanted a text as the key, got a list or a map"]


def test_the_merge_key_of_yaml_1_1_is_refused() -> None:
    documents, problems = parsed("a:\n  <<: {x: 1}\n  y: 2\n")
    assert documents == [{"a": {"y": "2"}}]
    assert problems == ["a.yaml:2:3: a: YAML 1.2 has no merge key '<<'"]


def test_a_quoted_merge_key_is_a_key_like_any_other() -> None:
    assert parsed("'<<': 1\n") == ([{"<<": "1"}], [])


@pytest.mark.parametrize("tag", ["!foo", "!!str", "!!python/object/apply:os.system", "!", "!<tag:x,1:y>"])
def test_any_tag_is_refused_at_its_value(tag: str) -> None:
    assert problem(f"a: {tag} x\n").startswith("a.yaml:1:4: a: tags are not allowed, got '")


def test_tags_of_lists_and_maps_are_refused() -> None:
    assert problem("a: !x [1]\n").startswith("a.yaml:1:4: a: tags are not allowed")
    assert problem("a:\n- !x {b: 1}\n").startswith("a.yaml:2:3: a[0]: tags are not allowed")


def test_an_alias_stands_for_its_anchor() -> None:
    assert parsed("a: &x [1, {b: 2}]\nc: *x\n") == ([{"a": ["1", {"b": "2"}], "c": ["1", {"b": "2"}]}], [])


def test_an_anchor_holds_for_its_own_document_only() -> None:
    assert problem("a: &x 1\n---\nb: *x\n") == "a.yaml:3:4: b: no anchor &x stands before this alias"


def test_an_alias_inside_of_its_own_anchor_is_a_cycle() -> None:
    assert problem("a: &x [*x]\n") == "a.yaml:1:8: a[0]: *x stands inside of what it is an alias for"


def test_a_hundred_aliases_are_allowed_and_one_more_is_not() -> None:
    allowed = "a: &x 1\nb: [" + "*x, " * MAX_ALIASES + "]\n"
    assert parsed(allowed)[1] == []
    refused = "a: &x 1\nb: [" + "*x, " * (MAX_ALIASES + 1) + "]\n"
    assert problem(refused) == f"a.yaml:2:405: b[100]: at most {MAX_ALIASES} aliases are allowed in a file"


def test_aliases_of_aliases_are_counted_by_what_they_stand_for() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip("bcdef", "abcde", strict=True):
        bomb += f"{name}: &{name} [" + ", ".join([f"*{before}"] * 10) + "]\n"
    message = problem(bomb)
    assert f"may stand for at most {MAX_ALIASED_NODES} nodes" in message


def test_the_deepest_allowed_nesting_is_read_and_one_level_more_is_refused() -> None:
    assert parsed("[" * MAX_DEPTH + "]" * MAX_DEPTH)[1] == []
    deeper = MAX_DEPTH + 1
    assert problem("[" * deeper + "]" * deeper).startswith(f"a.yaml:1:{deeper}: [0][0]")


def test_a_file_of_the_largest_size_is_read_and_a_larger_one_is_not() -> None:
    text = b"a: 1 " + b"#" * (MAX_FILE_BYTES - 5)
    assert parsed(text) == ([{"a": "1"}], [])
    assert problem(text + b"#") == "a.yaml:1:1: wanted a file of at most 32 MiB, got a larger one"


def test_what_stands_before_a_syntax_error_is_kept() -> None:
    documents, problems = parsed("a: 1\nb:\n  c: 2\n  d: [3, }\ne: 5\n")
    assert documents == [{"a": "1", "b": {"c": "2", "d": ["3"]}}]
    assert problems == ["a.yaml:4:10: b.d[1]: while parsing a flow node: did not find expected node content"]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a: 'x\n", "2:1"),
        ("a: b: c\n", "1:5"),
        ("a: 1\n\tb: 2\n", "2:1"),
        ("%YAML 2.0\n---\na: 1", "1:1"),
        ("a: }", "1:4"),
    ],
)
def test_a_syntax_error_has_its_position(text: str, position: str) -> None:
    assert problem(text).startswith(f"a.yaml:{position}: ")


def test_hints_say_what_usually_helps() -> None:
    assert hint("a: b: c\n") == "quote a text that contains ': ', or check the indentation"
    assert hint("a:\n\t- b\n") == "indent with spaces, not with tabs; quote a text that begins with @, ` or %"
    assert hint("a: \xe4".encode("latin-1")) == "save the file as UTF-8"
    assert hint("a: 'x") is None


def test_bytes_that_are_no_text_have_a_position_too() -> None:
    assert problem("a: 1\nä: \x07\n".encode()) == "a.yaml:2:4: control characters are not allowed, got #x07"
    assert problem(b"a: 1\nb: \xff\n") == "a.yaml:2:4: invalid leading UTF-8 octet, got #xff"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[https://a/b, c]", ["https://a/b", "c"]),
        ("{a: https://x/y?z=1#f}", {"a": "https://x/y?z=1#f"}),
        ("{a: file:w/x.gguf, b: [llama3:8b]}", {"a": "file:w/x.gguf", "b": ["llama3:8b"]}),
        ("[127.0.0.1:8080]", ["127.0.0.1:8080"]),
        ("{a:b: c}", {"a:b": "c"}),
        ("[x::y, what?]", ["x::y", "what?"]),
        ("{a: x?y, 'b': 'p:q', \"c\": \"r?s\"}", {"a": "x?y", "b": "p:q", "c": "r?s"}),
        ("{'a':b:c}", {"a": "b:c"}),
        ('[a"?, b?"]', ['a"?', 'b?"']),
        ("[a:\xa0b, \xa0:c]", ["a:\xa0b", "\xa0:c"]),
    ],
)
def test_unquoted_urls_in_flow_style_are_read_as_yaml_1_2_says(text: str, value: object) -> None:
    assert parsed(text) == ([value], [])


def test_positions_hold_in_a_file_with_unquoted_urls_in_flow_style() -> None:
    text = "a: [https://x/y]\nb: {c: file:z, c: 2}\n"
    assert problem(text) == "a.yaml:2:16: b.c: duplicate key 'c'; the first is at a.yaml:2:5"


def test_a_tag_is_named_in_a_file_with_unquoted_urls_in_flow_style() -> None:
    assert (
        problem("a: [https://x/y]\nb: !!x:y z\n") == "a.yaml:2:4: b: tags are not allowed, got 'tag:yaml.org,2002:x:y'"
    )


def test_a_private_character_of_the_text_survives_next_to_a_url_in_flow_style() -> None:
    assert parsed("[https://x/y, \ue000\ue001]") == ([["https://x/y", "\ue000\ue001"]], [])


def test_a_text_with_all_private_characters_is_reported_as_it_was_read() -> None:
    everything = "".join(chr(code) for code in range(0xE000, 0xF8FF))
    assert problem(f"[https://x/y, {everything}]").startswith("a.yaml:1:7: while scanning a plain scalar")


def test_a_misread_text_that_is_not_utf_8_is_reported_as_it_was_read() -> None:
    assert problem("[https://a/b]".encode("utf-16")).startswith("a.yaml:1:7: ")
