// What the inbox has done: each action by its name, with its retries and what was wrong.
"use strict";

const TRIES = 5;

function which() {
  const { chatbot, conversation } = byId("thread").dataset;
  return { chatbot_id: chatbot, conversation_id: conversation };
}

function post(path, body, key = null) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": desk.dataset.csrf };
  if (key) headers["Idempotency-Key"] = key;
  const signal = AbortSignal.timeout(PATIENCE_MS);
  return fetch(`${root}/web/inbox/${path}`, { method: "POST", headers, body: JSON.stringify(body), signal });
}

async function act(path, fields = {}, key = null) {
  const body = { ...which(), ...fields };
  for (let tried = 1; tried <= TRIES; tried++) {
    const response = await post(path, body, key).catch(() => null);
    // What is not known to have been refused is only sent again where a key makes sure that it is done once.
    if (response && (response.status < 500 || !key || tried === TRIES)) {
      showProblem(response.ok ? "" : await refusal(response));
      return response.ok;
    }
    if (!key) break;
    showProblem("The server does not answer. Trying again…");
    await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** tried));
  }
  showProblem("The server cannot be reached. Your text is still here; try again in a moment.");
  return false;
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const fields = (problem.errors ?? []).map((error) => `${error.field}: ${error.message}`).join(" ");
  return fields || problem.detail || problem.title || `The server answered ${response.status}.`;
}

function showProblem(text) {
  const problem = byId("problem");
  if (!problem) return;
  problem.textContent = text;
  problem.hidden = !text;
}

const state = () => byId("head")?.firstElementChild.dataset ?? {};

const actions = {
  takeover: () => act("takeover"),
  "takeover-from"() {
    byId("sure-who").textContent = state().operator;
    byId("sure").showPopover();
  },
  async "takeover-sure"() {
    byId("sure").hidePopover();
    await act("takeover", { force: true });
  },
  release: () => act("release"),
  close: () => act("change", { status: "closed" }),
  reopen: () => act("change", { status: "open" }),
  snooze: () => openSnooze(),
  assign: () => openPicks("assign"),
  suggest: () => act("suggest"),
  send: (button) => decide(button),
  discard: (button) => act("discard", { proposal_id: proposalOf(button) }),
  edit(button) {
    const card = button.closest(".proposal");
    const field = card.querySelector("textarea");
    field.hidden = false;
    card.querySelector(".content").hidden = true;
    button.hidden = true;
    card.querySelector('[data-do="send"]').textContent = "Send as edited";
    field.focus();
    fit(field);
  },
  "delete-note": (button) => act("delete-note", { note_id: button.dataset.note }),
  fix: () => openFix(),
  help() {
    byId("settings").hidePopover();
    byId("help").showPopover();
  },
  about(button) {
    const isShown = document.body.classList.toggle("with-person");
    button.setAttribute("aria-expanded", String(isShown));
  },
};

function proposalOf(button) {
  return button.closest("[data-proposal]").dataset.proposal;
}

async function decide(button) {
  const field = button.closest(".proposal").querySelector("textarea");
  const content = field.hidden ? null : field.value;
  button.disabled = true;
  if (await act("send", { proposal_id: proposalOf(button), content })) return;
  button.disabled = false;
}

function openPicks(id) {
  const sheet = byId(id);
  if (!sheet) return;
  sheet.showPopover();
  sheet.querySelector(".picks button")?.focus();
}

function openSnooze() {
  const at = (days, hour) => {
    const day = new Date();
    day.setDate(day.getDate() + days);
    day.setHours(hour, 0, 0, 0);
    return day;
  };
  const toMonday = (8 - new Date().getDay()) % 7 || 7;
  const picks = [
    ["In an hour", new Date(Date.now() + 60 * MINUTE)],
    ["In four hours", new Date(Date.now() + 240 * MINUTE)],
    ["Tomorrow morning", at(1, 9)],
    ["Monday morning", at(toMonday, 9)],
  ];
  byId("snooze-picks").replaceChildren(
    ...picks.map(([label, until]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.until = until.toISOString();
      const when = document.createElement("span");
      when.className = "muted";
      when.textContent = until.toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit" });
      button.append(label, when);
      return button;
    }),
  );
  openPicks("snooze");
}

async function snooze(until) {
  byId("snooze").hidePopover();
  await act("change", { status: "snoozed", snoozed_until: until });
}

// What was asked last, and what was answered to it last.
function openFix() {
  const sheet = byId("fix");
  if (!sheet) return;
  const said = [...byId("items").querySelectorAll(".say[data-seq]")];
  const answer = said.findLast((each) => each.matches(".operator, .assistant:not(.replaced)"));
  const before = answer ? said.slice(0, said.indexOf(answer)) : said;
  const asked = (before.length ? before : said).findLast((each) => each.matches(".user")) ?? said.findLast((each) => each.matches(".user"));
  byId("fix-prompt").value = textOf(asked);
  byId("fix-answer").value = textOf(answer);
  sheet.dataset.prompt = asked?.dataset.id ?? "";
  sheet.showPopover();
  byId("fix-submit").focus();
}

function textOf(item) {
  const content = item?.querySelector(".content").cloneNode(true);
  for (const marker of content?.querySelectorAll("a.cited") ?? []) marker.remove();
  return content?.textContent.trim().replace(/ +([.,;:!?])/g, "$1") ?? "";
}

async function fix() {
  const sheet = byId("fix");
  const fields = { prompt: byId("fix-prompt").value, answer: byId("fix-answer").value, prompt_id: sheet.dataset.prompt || null };
  sheet.hidePopover();
  if (await act("fix", fields)) announce("It is a fixed answer now.");
  byId("items").focus();
}
