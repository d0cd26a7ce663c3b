"""Each promise of SECURITY.md and of the guide to production names the tests that hold it; a promise without one fails here.

What a table promises in numbers is compared with the code.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import pytest

from gigachat_server.api.chatbots import ChatbotInput
from gigachat_server.api.conversations import PromptInput
from gigachat_server.api.documents import DocumentInput
from gigachat_server.edge.request import query_limit
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.records import ResponseConfig
from gigachat_server.settings import Settings
from tests.harness import gigachat

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "SECURITY.md").read_text()
GUIDE = (ROOT / "docs" / "guides" / "go-to-production.md").read_text()

# By how a row of the table of SECURITY.md begins: the tests, as module::test without `tests/` and `test_`.
PROMISES = {
    "API keys cannot be read": ["access::no_secret_is_in_the_store"],
    "scanners can find a leaked key": ["access::a_key_can_be_recognised_and_a_typo_is_refused_without_a_query"],
    "a revoked key is refused": [
        "cli/keys::a_revoked_key_is_refused",
        "pages/login::a_revoked_key_ends_its_sessions",
        "live::a_revoked_key_follows_nothing_any_more",
    ],
    "no route is open by mistake": [
        "access::a_route_without_a_scope_does_not_start",
        "pages/login::nothing_is_shown_to_a_stranger",
    ],
    "accounts cannot see": [
        "bad_input::foreign_and_missing_ids_get_the_same_404",
        "front_door::what_is_not_the_principals_looks_like_nothing",
        "front_door::a_read_names_its_account_in_the_statement",
    ],
    "an end user cannot pass for staff": [
        "access::speaking_as_client_needs_its_scope",
        "lookalikes::no_spelling_passes_for_staff",
        "lookalikes::what_is_not_seen_is_in_no_id_and_no_name",
        "lookalikes::the_memory_of_the_model_holds_the_name_as_words_alone",
        "lookalikes::names_that_were_stored_before_are_kept_apart_from_the_line",
        "pages/chat_page::who_spoke_is_told_by_the_stored_role",
    ],
    "a document cannot step out": [
        "docs/promises::each_prompt_has_a_mark_of_its_own_that_no_document_can_know",
        "models/handoff::an_offer_is_sent_as_one_tool_and_none_without_it",
    ],
    "errors and logs reveal no secrets": [
        "cli/serve::the_debug_log_has_a_line_for_each_request_and_no_secret",
        "docs/promises::no_log_and_no_problem_repeats_what_was_sent",
        "deploy/proxy::paths_and_queries_pass_as_they_were_written_and_no_query_is_logged",
    ],
    "the sender's address cannot be forged": [
        "access::the_peer_is_the_last_hop_that_nobody_trusted_wrote",
        "deploy/proxy::the_address_that_counts_is_whose_connection_it_is",
    ],
    "other sites cannot act through the pages": [
        "pages/login::the_api_does_not_know_the_cookie",
        "pages/requests::no_other_site_can_have_anything_done",
        "pages/requests::no_other_site_can_speak",
        "pages/requests::every_answer_forbids_what_no_page_needs",
    ],
    "text from strangers cannot run": [
        "pages/markdown::nothing_runs_and_nothing_is_fetched",
        "pages/markdown::images_are_links_at_most",
        "pages/browser::no_text_runs_or_fetches_anything",
    ],
    "a request cannot exhaust memory": [
        "bad_input::bodies_over_the_limit_are_413_however_they_are_sent",
        "serving/exhaustion::requests_in_one_go_take_no_memory",
        "serving/exhaustion::trailers_without_end_take_no_memory",
    ],
    "what comes after a request's head": ["serving/requests::what_comes_after_the_body_is_no_header"],
    "one caller cannot take all connections": [
        "serving/requests::there_is_room_for_so_many_connections",
        "serving/requests::one_address_does_not_get_all_of_it_unless_it_is_a_trusted_proxy",
        "serving/exhaustion::connections_that_wait_leave_room_for_others",
        "serving/exhaustion::who_does_not_read_takes_little_memory",
        "slow_readers::who_stops_reading_is_cut_off",
    ],
    "gigachat contacts no host": ["serving/silence::a_server_calls_nobody_and_writes_in_its_data_folder_alone"],
    "no other process of the same user": ["serving/odd_places::no_other_process_of_the_user_may_look_into_the_server"],
    "nothing is unpickled": ["structure::nothing_is_unpickled_or_evaluated"],
    "deleted text leaves": [
        "data/erasure::deleted_text_is_neither_in_the_store_nor_in_its_log_nor_in_a_new_backup",
        "data/erasure::a_kill_while_deleted_text_leaves_the_disk_loses_nothing",
        "idempotency::nothing_that_tells_of_a_conversation_is_kept_once_it_is_erased",
    ],
    "a file that takes over its parser": [
        "file_bombs::what_reads_files_can_reach_nothing",
        "file_bombs::files_are_out_of_reach_with_and_without_a_list_of_calls",
    ],
    "the embedding model's files": [
        "models/weights::a_damaged_file_is_refused_with_what_to_do",
        "models/weights::a_damaged_download_is_not_put_in_place",
    ],
}

# By the heading of a section of the guide to production.
GUIDED = {
    "How do I run gigachat with Docker?": [
        "deploy/compose::nginx_knows_every_node_and_is_the_only_one_that_can_be_reached",
        "deploy/compose::each_waits_for_what_it_needs_to_be_healthy",
        "deploy/image::its_steps_build_a_gigachat_that_serves",
        "deploy/image::it_is_not_root_and_owns_its_data",
        "deploy/proxy::a_node_that_is_told_to_stop_ends_its_streams_and_nobody_notices",
    ],
    "How do I put gigachat behind a proxy with TLS?": [
        "deploy/proxy::nginx_accepts_the_shipped_file",
        "deploy/proxy::words_arrive_while_the_model_goes_on",
        "deploy/proxy::its_limits_fit_those_of_gigachat",
        "deploy/proxy::a_node_that_is_killed_is_done_without_and_no_prompt_is_sent_twice",
        "deploy/proxy::over_tls_a_visitor_stays_signed_in",
        "deploy/caddy::a_server_behind_caddy_is_whole",
    ],
    "How do I serve gigachat under a path?": [
        "deploy/sub_path::every_address_of_a_page_leads_to_a_page",
        "deploy/sub_path::what_the_api_names_can_be_called",
        "deploy/sub_path::an_id_with_a_slash_passes_where_the_path_is_left",
        "deploy/caddy::a_server_behind_caddy_is_whole",
    ],
    "Which address does gigachat see?": ["access::the_peer_is_the_last_hop_that_nobody_trusted_wrote"],
    "How do I run gigachat as a service?": [
        "docs/docs::every_setting_that_a_page_names_exists",
        "serving/odd_places::it_serves_where_the_data_folder_alone_can_be_written",
    ],
    "What happens when gigachat stops?": [
        "cli/serve::running_replies_end_before_it_does",
        "cli/serve::replies_that_take_too_long_are_told_so",
        "faults/shutdown::told_to_stop_while_streams_run_it_ends_them_and_loses_nothing",
    ],
    "What happens after a crash?": [
        "faults/kill::a_kill_loses_nothing_and_does_nothing_twice",
        "faults/protections::a_prompt_that_ends_every_process_is_given_up",
    ],
    "What happens when the disk is full, fails or is locked?": [
        "faults/storage::a_full_disk_is_told_and_forgotten",
        "faults/storage::a_write_that_the_disk_does_not_confirm_ends_the_server",
        "storage_faults::a_lock_of_another_program_is_waited_for_once_and_told",
        "storage_faults::a_folder_that_cannot_be_written_is_told",
        "slow_readers::the_turn_of_who_stops_reading_is_finished_and_stored",
    ],
    "What happens when the message store is damaged?": [
        "storage_faults::damage_is_refused_in_one_line_and_left_as_it_is",
        "storage_faults::a_doctor_looks_at_every_row_and_changes_nothing",
        "storage_faults::the_way_out_that_a_refusal_names_is_one",
    ],
    "How do I back up gigachat, and restore it?": [
        "data/backup::a_backup_is_one_private_file_that_says_what_it_is",
        "data/backup::what_is_stored_is_replaced_only_by_force",
    ],
    "What may an API key do?": [
        "access::a_plain_key_cannot_make_keys",
        "access::a_key_gives_only_what_it_has",
        "front_door::each_method_needs_its_scope_and_no_other",
        "cli/keys::another_account_has_its_own_keys_and_chatbots",
        "pages/keys_page::a_key_that_may_do_less_sees_neither_keys_nor_endpoints",
    ],
    "How do I restrict where a chatbot can be used?": [
        "access::hostnames_decide_which_pages_may_converse",
        "access::ip_addresses_are_compared_with_the_real_peer",
        "access::every_route_below_a_chatbot_that_end_users_reach_is_guarded",
    ],
    "What do restrictions not protect?": ["access::hostnames_decide_which_pages_may_converse"],
    "Which limits are there?": ["docs/promises::the_limits_of_the_guide_are_those_of_the_code"],
    "What does gigachat log?": [
        "cli/serve::the_debug_log_has_a_line_for_each_request_and_no_secret",
        "docs/promises::no_log_and_no_problem_repeats_what_was_sent",
        "bad_input::request_ids_are_given_back_or_made",
    ],
    "How do I check that gigachat is healthy?": ["storage_faults::readiness_is_something_written_but_not_for_every_probe"],
    "How do I delete a user's data?": [
        "conversations::deleting_an_end_user_removes_all_that_they_said_and_nothing_else",
        "data/erasure::deleted_text_is_neither_in_the_store_nor_in_its_log_nor_in_a_new_backup",
        "idempotency::nothing_that_tells_of_a_conversation_is_kept_once_it_is_erased",
    ],
    "How do I upgrade?": [
        "data/backup::an_older_backup_is_migrated",
        "upgrade::the_upgraded_store_keeps_every_message",
        "data/migrate::the_store_is_backed_up_before_it_is_migrated",
    ],
    "How large can it grow?": ["cli/serve::a_second_server_on_the_same_data_refuses"],
}


@functools.cache
def names_in(module: str) -> frozenset[str]:
    folder, _, name = module.rpartition("/")
    tree = ast.parse((ROOT / "tests" / folder / f"test_{name}.py").read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def missing(named: list[str]) -> list[str]:
    return [each for each in named if f"test_{each.partition('::')[2]}" not in names_in(each.partition("::")[0])]


def test_each_promise_is_held_by_tests() -> None:
    table = SECURITY[SECURITY.index("| promise | how |") : SECURITY.index("## What does gigachat not promise?")]
    promised = re.findall(r"^\| (?!promise|-)([^|]+) \|", table, re.MULTILINE)
    assert len(promised) == len(PROMISES)
    for promise in promised:
        named = [tests for start, tests in PROMISES.items() if promise.startswith(start)]
        assert len(named) == 1, f"no test is named for the promise: {promise}"
        assert named[0] and missing(named[0]) == [], promise


def test_each_section_of_the_guide_is_held_by_tests() -> None:
    assert re.findall(r"^## (.*)$", GUIDE, re.MULTILINE) == list(GUIDED)
    assert {heading: missing(named) for heading, named in GUIDED.items() if missing(named) or not named} == {}


def longest(of: Any, field: str) -> int:
    """The most characters, entries or units that a field of a struct may have."""
    (hint,) = (each for each in msgspec.structs.fields(of) if each.name == field)
    found = [meta for meta in metas(hint.type) if meta is not None]
    return max(int(number) for meta in found for number in (meta.max_length, meta.le) if number is not None)


def metas(hint: Any) -> list[msgspec.Meta]:
    found = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, msgspec.Meta)]
    inner = [get_args(hint)[0]] if found else get_args(hint) if get_origin(hint) is not None else []
    return found + [meta for each in inner for meta in metas(each)]


def test_the_limits_of_the_guide_are_those_of_the_code() -> None:
    table = GUIDE[GUIDE.index("| what | limit |") :]
    rows = dict(re.findall(r"^\| (?!what|-)([^|]+) \| ([^|]+) \|$", table[: table.index("\n\n")], re.MULTILINE))
    settings = Settings()
    mib = 1024 * 1024
    assert rows == {
        "request body / with a document": f"{settings.max_body_bytes // mib} MiB / {settings.max_document_body_bytes // mib} MiB",
        "text of a document": f"{settings.max_document_characters:,} characters",
        "prompt": f"{longest(PromptInput, 'prompt'):,} characters",
        "`conversation_id`, `user_id`, names": f"{longest(ChatbotInput, 'name')} characters "
        f"(a document's name {longest(DocumentInput, 'name'):,})",
        "metadata of a prompt": f"{settings.max_metadata_bytes // 1024} KiB of JSON",
        "time for a request body to arrive": f"{settings.receive_timeout_s:.0f} seconds",
        "replies to one prompt (`n`)": f"{longest(ResponseConfig, 'n')}",
        "earlier messages the model sees (`memory_size`)": f"{longest(ResponseConfig, 'memory_size')}",
        "entries of a page of a list": f"{inspect.signature(query_limit).parameters['most'].default}",
        "running replies after SIGTERM": f"{settings.shutdown_timeout_s:.0f} seconds",
        "memory of the search indexes": f"{settings.index_memory_mb} MiB",
    }


async def test_each_prompt_has_a_mark_of_its_own_that_no_document_can_know(tmp_path: Path) -> None:
    model = ScriptedModel(["One."], ["Two."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0}})
        await api.push(chatbot, "parcels", "Parcels are sent on Monday.")
        for prompt in ("When are parcels sent?", "And when are parcels sent to Sweden?"):
            await api.say(chatbot, prompt)
    marks = [str(given.sections and given.sections.foot) for given in model.calls]
    assert len(set(marks)) == 2
    for given, mark in zip(model.calls, marks, strict=True):
        assert len(mark) >= 12
        assert given.sections is not None
        assert all(section.startswith(mark) for section in given.sections.passages)
        assert not any(mark in message.content for message in given.messages)


@pytest.mark.sqlite_only
async def test_no_log_and_no_problem_repeats_what_was_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = "s3cret-of-ann"
    caplog.set_level("DEBUG")
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        said = [
            await api.post(f"{chatbot}/conversations", {"conversation_id": "c1", "user_id": "ann", "prompt": secret}, key="x"),
            await api.post(f"{chatbot}/conversations", {"conversation_id": "c1", "user_id": "ann", "prompt": [secret]}),
            await api.get(f"/chatbots?limit={secret}"),
            await api.get("/chatbots", headers={"Authorization": f"Bearer {secret}"}),
            await api.get("/chatbots", headers={"Cookie": f"gigachat_session={secret}"}, key=None),
        ]
    assert {reply.status for reply in said} == {401, 422}
    assert [reply.text for reply in said if secret in reply.text] == []
    assert [record for record in caplog.messages if secret in record] == []
