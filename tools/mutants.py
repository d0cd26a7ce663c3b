"""Switch off one protection at a time and see that a test fails: mutants.py [NAME...].

Idea: a test that has never failed proves nothing. Each mutant is a copy of the sources in which one protection is off, by
exact text that must be found exactly once, so that a protection that moves or changes cannot silently lose its mutant; and
a few tests, which pass without it, must then fail. Exits with 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
AT_ONCE = 2
PATIENCE_S = 600  # for the tests of one mutant
ALL_PATIENCE_S = 3600  # for those of all of them

_PROTECTIONS = "tests/faults/test_protections.py::test_"
_FROZEN = _PROTECTIONS + "a_node_that_froze_stores_no_second_reply"
_LATE_DRAFT = _PROTECTIONS + "a_node_that_froze_keeps_no_draft_behind_the_other"
_AFTER_CHANGE = _PROTECTIONS + "a_reply_that_comes_after_a_takeover_or_a_stop_is_not_stored"
_AFTER_INTERRUPT = _PROTECTIONS + "a_reply_that_comes_after_the_prompt_that_interrupts_it_is_not_stored"
_ORDER = _PROTECTIONS + "order_holds_when_the_clock_goes_back"
_TWICE = _PROTECTIONS + "a_prompt_sent_twice_at_one_moment_is_stored_once"
_DURABLE = "tests/faults/test_durability.py"
_KILL = "tests/faults/test_kill.py::test_a_kill_loses_nothing_and_does_nothing_twice"
_SHUTDOWN = "tests/faults/test_shutdown.py::test_told_to_stop_while_streams_run_it_ends_them_and_loses_nothing"
_CUT = "tests/faults/test_postgres_connections.py::test_connections_are_cut_at_their_commit"
_CUT_AND_AWAY = "tests/faults/test_postgres_connections.py::test_what_became_of_a_commit_is_found_out_when_the_server_is_back"
_FAILOVER = "tests/faults/test_postgres_restarts.py::test_a_failover_loses_nothing"
_BACK = "tests/faults/test_postgres_restarts.py::test_postgresql_is_killed_and_comes_back"
_READ_ONLY = "tests/faults/test_postgres_restarts.py::test_a_primary_that_becomes_read_only_is_left"
_TAKEOVER = "tests/faults/test_postgres_nodes.py::test_no_word_is_shown_or_stored_after_a_takeover_at_another_node"
_STOOD_STILL = "tests/test_nodes.py::test_a_node_that_stood_still_shows_nothing_before_it_has_asked"
_INTERRUPT = "tests/test_overlap.py::test_of_many_that_interrupt_each_other_the_last_is_answered"
_ARRIVES = "tests/test_nodes.py::test_a_node_that_arrives_leaves_alone_what_another_one_answers"
_LEFT = "tests/test_recovery.py::test_no_draft_is_left_when_the_server_stops"
_A_ROW = "tests/work/test_loop.py::test_a_row_"
_LIMITS = "tests/test_limits.py::test_"
_PROPOSED = "tests/inbox/test_proposals.py::test_"
_REQUESTS = "tests/serving/test_requests.py::test_"
_OPENAI = "tests/openai/test_"

_ACCESS = "tests/access/"
_MATRIX = _ACCESS + "test_matrix.py::test_each_credential_reaches_what_its_column_says_and_nothing_else"
_LISTED = _ACCESS + "test_end_users.py::test_a_user_with_a_token_continues_with_a_fresh_one_or_a_session"

_KEEP = '        if await idempotency.keep(tx, key, idempotency.IdempotencyRecord("turn", 201, prompt_id), now_us=now_us):\n'
_KEEP_LATER = """\
        if await idempotency.find(tx, key, now_us=now_us) is None:
            later = idempotency.IdempotencyRecord("turn", 201, prompt_id)
            keep = lambda tx: idempotency.keep(tx, key, later, now_us=now_us)
            tx.after_commit(lambda: self._keep_task(self._database.transaction("key", keep)))
"""
_NEW_TURN = "        turn = self._new_turn(chatbot, request.conversation_id, new_id())\n"
_KEEP_BEFORE = """\
        kept, own = idempotency.IdempotencyRecord("turn", 201, turn.prompt_id), key
        keep = lambda tx: idempotency.keep(tx, own, kept, now_us=self._clock())
        if key is not None and await self._database.transaction("key", keep):
            key = None
"""
_END_ANYWAY = "        finally:\n            if is_ours:\n"
_COMMIT = '            self._writer.execute("COMMIT")\n'
_ERASE = "                self._erase(is_wanted=True)\n"
_CLAIM = "conversations.controlled_by = 'bot' AND conversations.answering IS NULL \"\n        \"THEN "


class Mutant(msgspec.Struct, frozen=True):
    """`changes` are pairs of the text as it is and as it is to be; `tests` must notice."""

    name: str
    changes: Sequence[tuple[str, str]]
    tests: Sequence[str]


MUTANTS = (
    Mutant(
        "late text is not fenced off by the epoch",
        [("AND control_epoch = :control_epoch RETURNING {_PLACE}", "RETURNING {_PLACE}")],
        [_AFTER_CHANGE, _AFTER_INTERRUPT, _FROZEN],
    ),
    Mutant(
        "a takeover does not raise the epoch",
        [("control_epoch = control_epoch + CASE WHEN controlled_by = :operator THEN 0 ELSE 1 END, ", "")],
        [_AFTER_CHANGE],
    ),
    Mutant(
        "a stop or an interruption does not raise the epoch",
        [("await conversations.raise_epoch(tx, chatbot.id, conversation_id)\n", "pass\n")],
        [_AFTER_CHANGE, _AFTER_INTERRUPT],
    ),
    Mutant(
        "words are shown while a takeover is written",
        [("self.enter_context(turn.speech.frozen())", "self.enter_context(ExitStack())")],
        [_PROTECTIONS + "what_was_shown_when_an_operator_took_over_is_what_is_stored"],
    ),
    Mutant(
        "times come from the clock",
        [("last_at = greatest(conversations.last_at + 1, :now_us)", "last_at = :now_us")],
        [_ORDER],
    ),
    Mutant(
        "numbers are counted, not taken from the row",
        [
            (
                "last_seq = conversations.last_seq + 1, ",
                "last_seq = (SELECT 1 + max(m.seq) FROM messages m WHERE m.chatbot_id = conversations.chatbot_id "
                "AND m.conversation_id = conversations.conversation_id), ",
            )
        ],
        [_ORDER],
    ),
    Mutant("a key that is taken counts as free", [(_KEEP, _KEEP.replace(":\n", " or True:\n"))], [_TWICE]),
    Mutant("the key is kept after the prompt's transaction", [(_KEEP, _KEEP_LATER)], [_TWICE]),
    Mutant(
        "the key is kept before the prompt's transaction",
        [(_NEW_TURN, _NEW_TURN + _KEEP_BEFORE)],
        [_PROTECTIONS + "a_key_whose_prompt_was_not_stored_is_free"],
    ),
    Mutant("commits are not synced", [('"synchronous = FULL"', '"synchronous = NORMAL"')], [_DURABLE]),
    Mutant(
        "answers do not wait for the commit",
        [
            (_COMMIT, f"            self._deliver(group)\n{_COMMIT}"),
            (_ERASE + "            self._deliver(group)\n", _ERASE),
        ],
        [_DURABLE],
    ),
    Mutant(
        "every prompt takes the lease",
        [
            (_CLAIM + ":prompt_id", _CLAIM.replace(" AND conversations.answering IS NULL", "") + ":prompt_id"),
            (_CLAIM + ":lease_until", _CLAIM.replace(" AND conversations.answering IS NULL", "") + ":lease_until"),
        ],
        [_PROTECTIONS + "the_second_prompt_waits_until_the_first_is_answered"],
    ),
    Mutant(
        "late drafts are not fenced off",
        [('"AND control_epoch = :control_epoch AND answering = :prompt_id FOR UPDATE"', '"FOR UPDATE"')],
        [_LATE_DRAFT],
    ),
    Mutant(
        "a late failure is not fenced off",
        [("queued = queued {_WHICH} AND control_epoch = :control_epoch AND", "queued = queued {_WHICH} AND")],
        [_PROTECTIONS + "a_failure_that_comes_late_does_not_undo_the_other_reply"],
    ),
    Mutant(
        "two may take up one abandoned conversation",
        [('"AND (lease_until = :lease_was OR answering IS NULL) " if lease_was is not None else ""', '""')],
        [_PROTECTIONS + "two_who_find_an_abandoned_prompt_answer_it_once"],
    ),
    Mutant(
        "a prompt is taken up for ever",
        [("_MOST_RECOVERIES = 1", "_MOST_RECOVERIES = 1000")],
        [_PROTECTIONS + "a_prompt_that_ends_every_process_is_given_up"],
    ),
    Mutant(
        "a turn whose failure cannot be stored does not end",
        [(_END_ANYWAY, _END_ANYWAY.replace("finally", "else"))],
        [_PROTECTIONS + "a_failure_that_cannot_be_stored_leaves_nobody_waiting"],
    ),
    Mutant(
        "what was shown is answered anew as if it had not been",
        [("was_shown = any(draft.prompt_id == prompt.id for draft in kept)", "was_shown = False")],
        [_LATE_DRAFT],
    ),
    Mutant(
        "nothing is recovered at the start",
        [("        await lifecycle.recover(is_only_process=is_only_process)\n", "        pass\n")],
        [_KILL + "[sqlite-S5]"],
    ),
    Mutant(
        "drafts outlive their turn",
        [("            if lease.drafted_to or is_anew:\n", "            if False:\n")],
        [_KILL + "[sqlite-S9]"],
    ),
    Mutant(
        "followers are not told of the shutdown",
        [("        if self._is_closed:\n            raise ShuttingDown(retry_after_s=1)\n", "        pass\n")],
        [_SHUTDOWN],
    ),
    Mutant(
        "a lost answer to a COMMIT counts as a refusal",
        [("if await _is_proven(name, connection, statements):", "if False:")],
        [_CUT],
    ),
    Mutant(
        "who reads a conversation before writing does not hold its row",
        [('{_WHICH} FOR UPDATE", chatbot_id', '{_WHICH}", chatbot_id')],
        [_INTERRUPT + "[postgres]", _TAKEOVER],
    ),
    Mutant(
        "other nodes are not asked to pause",
        [("if paused.is_set() or loop.time() > give_up_at:", "if True:")],
        [_TAKEOVER],
    ),
    Mutant(
        "a node that stood still shows words at once",
        [("return asyncio.get_running_loop().time() - self._beat_at_s < _STALE_S and self._database.hears",
          "return self._database.hears")],
        [_STOOD_STILL],
    ),
    Mutant(
        "a server that takes no writes is not left",
        [("if state.startswith((*_GONE, _READ_ONLY)):", "if state.startswith(_GONE):")],
        [_READ_ONLY],
    ),
    Mutant(
        "a server that takes no writes counts as ready",
        [("{emit} WHERE current_setting('transaction_read_only') = 'off'", "{emit}")],
        [_READ_ONLY],
    ),
    Mutant(
        "that none of several hosts takes writes is a bug",
        [("asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)", "asyncpg.InterfaceError, OSError)")],
        [_FAILOVER],
    ),
    Mutant(
        "a turn that could not be settled in time waits for its lease",
        [("_SETTLE_S = 30.0", "_SETTLE_S = 0.0")],
        [_BACK],
    ),
    Mutant(
        "a node that stops fails what it has not begun",
        [("if turn.speech.showable().replies or not (self._is_stopping and self._database.is_shared):", "if True:")],
        [_LEFT + "[postgres]"],
    ),
    Mutant(
        "a process that is alone waits for the leases of the one before",
        [("is_only_process = is_alone and not (database.is_shared and was_old)", "is_only_process = not database.is_shared")],
        [_KILL + "[postgres-S5]"],
    ),
    Mutant(
        "a process counts as alone though another one is there",
        [('            yield is_alone\n', '            yield True\n')],
        [_ARRIVES],
    ),
    Mutant(
        "a COMMIT that nobody answered is given up like any other failure",
        [("max(patience_s, _COMMIT_S if lost else 0.0)", "patience_s")],
        [_CUT_AND_AWAY],
    ),
    Mutant(
        "work that always fails is never parked",
        [("if tries >= MOST_TRIES:", "if False:")],
        [_A_ROW + "that_fails_is_tried_after_ever_longer_pauses_and_then_parked"],
    ),
    Mutant(
        "work that ended each of its workers is tried again",
        [("if tries > MOST_TRIES:", "if False:")],
        [_A_ROW + "whose_worker_died_each_time_is_parked_before_it_is_worked_on"],
    ),
    Mutant(
        "a row that cannot be claimed is looked at again at once",
        [("                self._let_rest(entry)\n", "                pass\n")],
        [_A_ROW + "that_cannot_be_claimed_keeps_no_other_waiting_and_does_not_spin"],
    ),
    Mutant(
        "what comes after a body is a header",
        [("        if self._phase is _Phase.HEAD:\n            self._headers", "        if True:\n            self._headers")],
        [_REQUESTS + "what_comes_after_the_body_is_no_header"],
    ),
    Mutant(
        "one address may take every connection",
        [("(not is_proxy and self._from[place] >= self._most_of_one)", "False")],
        [_REQUESTS + "one_address_does_not_get_all_of_it_unless_it_is_a_trusted_proxy"],
    ),
    Mutant(
        "deleted rows stay in the store's file",
        [('"secure_delete = ON"', '"secure_delete = OFF"')],
        ["tests/data/test_erasure.py"],
    ),
    Mutant(
        "a rewrite loses what a later version stored",
        [("        held = _decode_fields(stored)\n    except", "        held = {}\n    except")],
        ["tests/test_json_columns.py::test_a_rewrite_changes_what_is_changed_and_nothing_else"],
    ),
    Mutant(
        "a list has the conversations of other end users",
        [("        if self.owned_by is not None:\n", "        if False:\n")],
        [_LISTED],
    ),
    Mutant(
        "a quota that is used up has room for one more",
        [("if ahead_us <= window_us - step_us else None", "if ahead_us <= window_us else None")],
        [_LIMITS + "a_user_has_20_prompts_a_minute_which_come_back_one_by_one"],
    ),
    Mutant(
        "a quota is not compared with what was used",
        [(" if ahead_us <= window_us - step_us else None", "")],
        [_LIMITS + "a_quota_is_exact_whatever_its_window"],
    ),
    Mutant(
        "a proposal is decided as often as operators decide",
        [
            ("{_WHICH} AND state IN ('wanted', 'open') {if_epoch}", "{_WHICH} {if_epoch}"),
            ("AND state = 'open' AND control_epoch =", "AND control_epoch ="),
        ],
        [_PROPOSED + "of_all_that_happens_at_once_one_thing_happens"],
    ),
    Mutant(
        "a takeover leaves proposals open",
        [('await supersede(tx, self._events, chatbot.id, conversation_id, "intercepted")\n        unsettled', "unsettled")],
        [_PROPOSED + "a_change_of_control_puts_a_proposal_out_of_date"],
    ),
    Mutant(
        "what a caller recounts is told as the chatbot's own words",
        [("    if memory.is_recounted:\n", "    if False:\n")],
        [_OPENAI + "callers.py::test_without_a_name_the_callers_account_is_this_turns_memory_and_is_not_stored"],
    ),
    Mutant(
        "a message's id opens the conversation of somebody else",
        [("            return last if is_theirs else None\n", "            return last\n")],
        [_OPENAI + "callers.py::test_a_forged_or_foreign_item_id_begins_a_new_conversation"],
    ),
    Mutant(
        "a request that a client repeats by itself is a new prompt",
        [("is_repeat = repeats.isascii() and repeats.isdigit() and int(repeats[:9]) > 0", "is_repeat = False")],
        [_OPENAI + "retries.py::test_a_repeat_is_answered_with_what_came_of_the_first"],
    ),
    Mutant(
        "words that failed are a new prompt",
        [("(:is_repeat = 1 OR (m.turn = 'failed' ", "(:is_repeat = 1 OR (m.turn = 'none' ")],
        [_OPENAI + "retries.py::test_the_same_words_are_answered_again_where_they_failed"],
    ),
    Mutant(
        "a conversation branches",
        [("        raise PreviousResponseSuperseded\n", "        pass\n")],
        [_OPENAI + "responses.py::test_a_conversation_goes_on_from_the_previous_response"],
    ),
    Mutant(
        "OpenAI's clients get round the restrictions",
        [("is_guarded=row.chatbot_in is not None,", "is_guarded=False,")],
        [_OPENAI + "routes.py::test_restrictions_hold_on_every_route"],
    ),
    Mutant(
        "a front end says whose prompt it is, whatever the token says",
        [("    if principal.is_end_user and principal.user_id is not None:\n", "    if False:\n")],
        [_OPENAI + "end_users.py::test_an_end_user_speaks_as_themselves_whatever_else_is_claimed"],
    ),
    Mutant(
        "the id of a response is enough to read it",
        [("            await _check_own(reader, principal, chatbot, prompt.conversation_id)\n", "")],
        [_OPENAI + "end_users.py::test_a_conversation_that_changed_hands_is_its_new_users_alone"],
    ),
    Mutant(
        "OpenAI's routes quote documents to end users",
        [('        if shown.sources == "full":\n', "        if True:\n")],
        [_OPENAI + "end_users.py::test_a_reply_shows_as_much_of_its_sources_as_the_key_says"],
    ),
    Mutant(
        "an end user enters every conversation of the chatbot",
        [("        if conversation.user_id != self.user_id and", "        if not conversation.chatbot_id and")],
        [_MATRIX],
    ),
    Mutant(
        "end users reach every route that their scopes allow",
        [('            if route.end_user == "no":\n', "            if False:\n")],
        [_MATRIX],
    ),
    Mutant(
        "a token brings the key that it is verified with",
        [("    if _REFUSED_HEADERS & header.keys():\n", "    if False:\n")],
        [_ACCESS + "test_user_tokens.py::test_hostile_tokens_let_no_one_in_and_look_the_same"],
    ),
    Mutant(
        "a token is good for ever",
        [("    if claims.expires_at + LEEWAY_S * _SECOND <= now_us:\n", "    if False:\n")],
        [_ACCESS + "test_user_tokens.py::test_clocks_may_differ_by_a_minute"],
    ),
    Mutant(
        "an anonymous session is claimed twice",
        [("        \"AND user_id LIKE 'anon:%' AND revoked_at IS NULL", "        \"AND user_id LIKE 'anon:%'")],
        [_ACCESS + "test_end_users.py::test_of_two_hundred_claims_of_one_session_one_succeeds_and_erasure_finds_all"],
    ),
    Mutant(
        "end users come from any page",
        [("    if not is_listed(origin, hostnames):\n        raise HostnameRefused\n", "")],
        [_ACCESS + "test_from_where.py::test_a_page_that_is_not_listed_is_refused"],
    ),
)  # fmt: skip


class Verdict(msgspec.Struct):
    """What the tests said of a mutant, and the first thing they complained of."""

    name: str
    is_killed: bool
    because: str
    took_s: float


def copied(folder: Path) -> None:
    """The sources and the tests, as they are."""
    for name in ("src", "tests", "tools", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)


def mutate(sources: Path, mutant: Mutant) -> None:
    """Apply its changes. Exits if a text is not there exactly once."""
    files = texts(sources)
    for path, text in mutated(files, mutant).items():
        if text != files[path]:
            path.write_text(text, encoding="utf-8")


def texts(sources: Path) -> dict[Path, str]:
    """What may be changed: the bench has a floor with a store of its own."""
    paths = [path for path in sorted(sources.rglob("*.py")) if path.parent.name != "bench"]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def mutated(files: Mapping[Path, str], mutant: Mutant) -> dict[Path, str]:
    """The texts with its changes. Exits if one has not exactly one place."""
    changed = dict(files)
    for old, new in mutant.changes:
        found = [path for path, text in changed.items() if old in text]
        if sum(changed[path].count(old) for path in found) != 1:
            sys.exit(f"{mutant.name!r}: found in {len(found)} files instead of once:\n{old}")
        changed[found[0]] = changed[found[0]].replace(old, new)
    return changed


def run_tests(folder: Path, tests: Sequence[str], *, patience_s: float = PATIENCE_S) -> tuple[int, str]:
    """pytest's exit status and what it printed, for the sources in that folder."""
    command = [sys.executable, "-m", "pytest", "-x", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=patience_s)
    return ended.returncode, ended.stdout + ended.stderr


def tried(mutant: Mutant) -> Verdict:
    """Have its tests judge it. Exits if they could not be run."""
    with tempfile.TemporaryDirectory() as temporary:
        copied(Path(temporary))
        mutate(Path(temporary) / "src", mutant)
        began = time.monotonic()
        status, said = run_tests(Path(temporary), mutant.tests)
    if status not in (0, 1):
        sys.exit(f"{mutant.name!r}: its tests do not run:\n{said}")
    complaint = re.search(r"^E +(.*)$", said, re.MULTILINE)
    return Verdict(mutant.name, status == 1, complaint[1] if complaint else "", time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only mutants whose name has this in it")
    wanted = parser.parse_args().names
    chosen = [mutant for mutant in MUTANTS if not wanted or any(name in mutant.name for name in wanted)]
    with tempfile.TemporaryDirectory() as temporary:
        copied(Path(temporary))
        every = sorted({test for mutant in chosen for test in mutant.tests})
        status, said = run_tests(Path(temporary), every, patience_s=ALL_PATIENCE_S)
        if status != 0:
            sys.exit(f"The tests must pass before anything is switched off:\n{said}")
    print(f"{'mutant':55} verdict   seconds  noticed by")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = []
        for verdict in pool.map(tried, chosen):
            verdicts.append(verdict)
            word = "killed" if verdict.is_killed else "SURVIVED"
            print(f"{verdict.name:55} {word:8} {verdict.took_s:8.1f}  {verdict.because[:100]}", flush=True)
    survived = [verdict.name for verdict in verdicts if not verdict.is_killed]
    print(f"{len(verdicts) - len(survived)} of {len(verdicts)} mutants killed.")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
