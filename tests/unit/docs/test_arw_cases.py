"""Every case that ARW tests, or should have tested, has a test here, or a reason why it can have none.

The names in `CASES` exist. What takes the place of a case in `NOT_HERE` is a case of its own.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping

import pytest

from tests.unit.docs.snippets import ROOT

CASES: Mapping[str, tuple[str, ...]] = {
    "two models of one digest: a primary, a follower, both told": (
        "unit/transfer/test_lane::test_every_owner_hears_every_fact_and_followers_who_leads",
        "unit/transfer/test_lane::test_a_new_owner_joins_a_running_job_and_hears_how_it_stands",
        "unit/publish/test_read_models::test_a_running_job_is_shown_with_who_shares_it",
        "unit/transfer/test_lane_limits::test_followers_are_counted_when_they_join",
    ),
    "a follower never shares the fate of one source": (
        "unit/transfer/test_lane::test_the_next_source_is_tried_when_one_fails",
        "e2e/test_acceptance_downloads_steering::test_what_one_model_cancels_goes_on_for_the_other",
    ),
    "metrics of a fresh node": ("unit/publish/test_read_models::test_models_metrics_of_a_node_that_has_done_nothing",),
    "metrics: every counter, from what is really told": (
        "unit/publish/test_tally::test_a_status_counts_once_however_many_objects_are_told",
        "unit/publish/test_tally::test_every_request_counts_with_what_it_brought",
        "unit/publish/test_tally::test_all_thirteen_counters_are_shown_each_from_its_own_source",
        "e2e/test_downloads_shown::test_answers_to_heads_are_counted_by_what_came_of_them",
        "e2e/test_downloads_shown::test_a_download_that_is_resumed_and_then_canceled_counts_as_both",
    ),
    "quota: what is used, of what": (
        "unit/publish/test_read_models::test_storage_tells_whose_bytes_there_are_and_when_the_others_go",
        "e2e/test_acceptance_downloads_budgets::test_an_undeclared_size_beyond_the_quota_waits_and_says_what_is_left",
    ),
    "a smaller limit: nothing is killed, the difference is pending and clears": (
        "unit/transfer/test_lane::test_shrinking_never_stops_running_jobs",
        "unit/transfer/test_permits::test_the_snapshot_counts_what_runs_above_a_smaller_limit_as_pending",
        "e2e/test_acceptance_downloads_steering::test_fewer_permits_kill_no_download_and_more_start_the_next_ones",
    ),
    "soft budget of 100 ms at half: degraded once": (
        "unit/transfer/test_spending::test_soft_100_ms_at_half_says_degraded_once_between_40_and_60_ms_and_never_again",
    ),
    "hashes: grouped, sorted, filtered, 103 rows by 25, an offset behind the end": (
        "unit/publish/test_hashes::test_a_digest_has_one_row_however_many_name_it",
        "unit/publish/test_hashes::test_the_size_is_that_on_disk_else_the_first_that_is_declared_else_unknown",
        "unit/publish/test_page::test_103_rows_by_25",
        "unit/publish/test_page::test_filters_are_exact_and_a_page_counts_what_they_let_through",
        "e2e/test_state_api_hashes::test_an_offset_behind_the_end_gives_the_last_page",
        "e2e/test_state_api_hashes::test_what_is_removed_leaves_document_and_pages_by_a_patch",
    ),
    "collection: what is referenced stays, what is stale goes": (
        "e2e/test_acceptance_pruning::"
        "test_gc_of_one_declared_and_one_stale_blob_keeps_one_and_deletes_one_and_says_which",
        "e2e/test_acceptance_pruning::test_gc_prunes_by_the_last_good_manifests_and_keeps_the_fuse",
        "e2e/test_acceptance_pruning::test_foreign_files_in_store_and_state_survive_everything",
    ),
    "collection beside a running download": (
        "e2e/test_acceptance_pruning::"
        "test_what_is_stale_is_collected_beside_a_running_download_which_neither_loses_a_byte_nor_asks_again",
        "e2e/test_acceptance_pruning::test_gc_after_a_killed_run_keeps_the_part_that_the_next_run_goes_on_from",
        "unit/transfer/test_lane::test_a_transfer_that_completes_although_unwanted_is_kept_for_the_plan_to_judge",
    ),
    "entity tags: quoted, lists, weak ones, any": (
        "unit/publish/http/test_validators::test_a_tag_that_is_named_is_current",
        "unit/publish/http/test_validators::test_anything_else_is_not",
        "e2e/test_state_api::test_a_client_that_has_it_is_told_so",
        "e2e/test_state_api::test_head_has_the_headers_and_no_body",
    ),
    "dates and ranges: a copy is as current as its tag, and a document comes whole": (
        "e2e/test_state_api::test_the_entity_tag_alone_says_whether_a_copy_is_current",
        "e2e/test_state_api::test_a_document_comes_whole_whatever_range_is_wanted",
    ),
    "one document for all who ask": (
        "unit/publish/test_documents::test_a_body_is_made_once_for_all_who_ask_for_it",
        "unit/publish/test_publisher::test_a_pass_that_changes_nothing_is_compared_once",
        "unit/publish/test_stream::test_readers_at_the_same_place_share_the_same_bytes",
    ),
    "events: replay, resume, prefixes, an id that nothing can follow, a reader that lags": (
        "e2e/test_state_api_events::test_replay_begins_with_the_newest_events",
        "e2e/test_state_api_events::test_a_client_that_comes_back_gets_what_it_missed",
        "unit/publish/test_stream::test_a_reader_goes_on_behind_the_id_it_names_without_a_greeting",
        "unit/publish/test_stream::test_a_reader_that_has_seen_everything_gets_nothing_again",
        "e2e/test_state_api_events::test_several_prefixes_let_through_what_begins_with_one_of_them",
        "e2e/test_state_api_events::test_an_id_of_another_database_is_answered_with_resync",
        "unit/publish/test_stream::test_a_slow_reader_is_told_to_resync_once_and_goes_on_at_the_head",
        "unit/publish/test_stream::test_facts_that_the_journal_may_have_forgotten_get_a_resync",
    ),
    "the end of the journal: no more than was asked for": (
        "unit/cli/test_main::test_the_newest_events_are_shown_unless_a_place_to_begin_is_given",
        "unit/publish/test_stream::test_replay_gives_the_newest_events_that_pass_the_filter",
        "unit/publish/test_stream::test_replaying_more_than_there_is_gives_everything",
        "e2e/test_state_api_events::test_nonsense_is_refused_before_the_stream_begins",
    ),
    "events only with the right token": (
        "e2e/test_state_api::test_with_a_token_everything_but_the_probes_wants_it",
        "unit/publish/http/test_security::test_without_the_right_token_there_is_one_answer_for_everything",
    ),
    "nothing opens what a token closes: no address, no header of a proxy": (
        "unit/publish/http/test_security::test_any_other_address_without_a_token_is_refused_at_the_start",
        "e2e/test_state_api::test_what_is_said_of_another_hop_opens_nothing",
    ),
    "too many who ask": (
        "e2e/test_state_api_clients::test_one_client_too_many_is_turned_away_and_the_others_are_served",
        "e2e/test_state_api_events::test_one_reader_too_many_is_asked_to_come_back_later",
    ),
    "patches lead from one document to the next": (
        "properties/test_patch::test_applying_the_patch_gives_the_new_document_with_every_type_kept",
        "unit/publish/test_documents::test_every_patch_is_numbered_and_leads_to_the_body",
        "unit/publish/test_documents::test_an_update_that_was_not_accepted_is_found_again",
        "e2e/test_state_api_readers::test_all_readers_end_equal_and_the_one_that_stands_still_is_told",
    ),
    "egress: what was asked, as a document with a tag": (
        "e2e/test_state_api::test_a_client_that_has_it_is_told_so",
        "unit/publish/test_publisher::test_requests_of_before_and_of_now_are_shown_once_each",
    ),
    "egress: preview, posture, wildcards by label, IP literals": (
        "unit/core/test_egress::test_a_preview_names_the_rule_that_refuses",
        "unit/core/test_egress::test_a_policy_has_a_posture",
        "unit/core/test_egress::test_a_star_matches_neither_the_domain_itself_nor_a_name_that_only_ends_alike",
        "e2e/test_egress_enforced::test_this_machine_is_refused_however_it_is_written",
    ),
    "names on disk: every vector": (
        "unit/core/test_names::test_a_name_is_written_so_that_every_platform_can_hold_it",
        "unit/core/test_names::test_a_long_name_is_cut_and_keeps_its_extension",
    ),
    "a name from a server is no name": ("e2e/test_acceptance_network::test_what_an_origin_calls_a_file_names_nothing",),
    "a path is where it leads": (
        "e2e/test_fetch_local::test_a_link_that_leads_outside_is_not_admitted",
        "unit/loop/test_source::test_paths_are_compared_as_sorted_real_paths",
        "unit/cas/test_views::test_a_link_is_ours_by_whichever_way_the_state_directory_is_reached",
    ),
    "URLs are redacted": (
        "unit/core/test_source::test_a_shown_url_holds_no_secret",
        "unit/core/test_source::test_what_was_taken_for_a_url_is_shown_without_its_secrets",
        "e2e/test_secrets::test_no_run_shows_or_keeps_a_secret",
    ),
    "statuses and codes are one enum in code, docs and schema": (
        "unit/core/test_job_table::test_every_happening_state_status_and_code_is_in_the_table",
        "unit/docs/test_generated::test_generated_files_are_up_to_date",
        "unit/publish/http/test_schemas::test_an_enum_of_the_code_is_the_same_in_the_schema",
        "unit/publish/http/test_schemas::test_what_is_said_of_a_download_takes_only_values_of_the_enum",
        "unit/publish/http/test_schemas::test_what_happens_to_a_job_is_told_as_it_is_described",
    ),
    # Tested nowhere in ARW:
    "a download from end to end": (
        "e2e/test_acceptance_first_run::test_the_real_model_converges_from_an_unmodified_manifest",
    ),
    "what is there already is cached, without a request": (
        "unit/transfer/test_lane::test_bytes_that_are_verified_already_are_complete_without_a_request",
    ),
    "resume: 200, 206, 416, a changed ETag": (
        "e2e/test_fetch_resume::test_a_whole_answer_to_a_range_request_replaces_the_part",
        "e2e/test_fetch_resume::test_a_part_of_a_killed_run_is_resumed",
        "e2e/test_fetch_resume::test_416_for_a_complete_part_of_unknown_size_verifies_it",
        "e2e/test_fetch_resume::test_a_changed_etag_in_a_206_starts_again",
        "faults/test_matrix::test_a_fault_ends_as_its_row_says",
    ),
    "retries and Retry-After": (
        "e2e/test_fetch_resume::test_retries_are_counted",
        "unit/transfer/test_retry::test_retry_after_is_seconds_or_a_date",
    ),
    "idle timeout": (
        "e2e/test_fetch_network::test_silence_is_an_idle_timeout_and_the_fetch_goes_on_after_it",
        "e2e/test_fetch_network::test_a_slow_transfer_outlives_the_idle_timeout",
    ),
    "no room, over the quota, above the size cap": (
        "e2e/test_acceptance_store::test_what_does_not_fit_is_blocked_with_figures_before_the_first_byte",
        "e2e/test_acceptance_store::test_a_disk_that_fills_up_on_the_way_fails_clearly_and_publishes_nothing",
        "unit/transfer/test_lane::test_an_undeclared_size_is_admitted_when_it_fits_beside_all_running_downloads",
        "e2e/test_acceptance_downloads_budgets::test_an_undeclared_size_beyond_the_quota_waits_and_says_what_is_left",
        "e2e/test_acceptance_downloads_budgets::test_an_undeclared_size_above_the_cap_is_refused_as_soon_as_it_shows",
    ),
    "cancel: told once, nothing is left": (
        "e2e/test_acceptance_downloads_steering::test_a_canceled_digest_is_told_once_to_each_owner_and_leaves_nothing",
    ),
    "wrong digest": (
        "e2e/test_fetch_resume::test_wrong_bytes_read_at_once_are_an_integrity_failure",
        "properties/test_protocol_machine::Origin",
    ),
    "a crash while bytes get their final name": (
        "crash/test_converge::test_a_kill_at_any_effect_loses_nothing_and_the_next_run_converges",
        "crash/test_strace::test_a_kill_at_a_system_call_loses_nothing",
        "crash/test_kill_download::test_a_download_killed_ten_times_ends_with_the_right_bytes_fetched_once",
    ),
}

NOT_HERE: Mapping[str, str] = {
    "blob: GET and HEAD by digest, their headers, ranges and 400": "files are served to no other host yet",
    "http utils: suffix range, another unit, a start behind the end": "documents come whole, and no file is served yet",
    "http utils: If-Modified-Since": "a document has an entity tag and no date: revisions can follow within a second",
    "concurrency: a request that waits until a smaller limit holds": "limits come from manifests; the API only reads",
    "SSE: 501 when the journal is off": "the journal can't be turned off: it is part of the registry",
    "SSE and auth: a hashed token": "a node is given the token itself, and a hash of it opens nothing",
    "journal: `truncated` and how many matched": "a list is as long as was asked for; its last id says where to go on",
    "auth: rate limit after N": "requests are not counted by client; connections and streams are bounded",
    "auth: a forwarded address is refused in debug": "no mode opens what a token closes; no such header is read",
    "egress: scopes, leases, what allows by one, what has expired": "one policy holds, that of the manifests",
    "quota: a document of its own": "limits stand in the manifests; `storage` has what is used, a job what is left",
    "Content-Disposition: five ways to write it": "names come from manifests, never from what a server says",
}


@functools.cache
def _names_in(module: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef))


@pytest.mark.parametrize("case", CASES)
def test_a_case_has_tests(case: str) -> None:
    missing = [name for name in CASES[case] if name.partition("::")[2] not in _names_in(name.partition("::")[0])]
    assert missing == []


def test_no_route_has_come_that_would_serve_a_file() -> None:
    routes = re.findall(r"^\| `(/[^`]*)` \|", (ROOT / "docs/reference/http-api.md").read_text(), re.MULTILINE)
    assert {route.split("/")[1] for route in routes} == {
        "state", "events", "metrics", "healthz", "readyz", "openapi.json",
    }, "then what is not here, because no file is served, may have to be tested"  # fmt: skip
