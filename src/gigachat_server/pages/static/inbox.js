// Keeps the list, the thread and the side panel as the server has them, and has things done by hand and by key. What changes comes
// from one stream, as HTML of the server's own templates; text from anybody else goes through textContent.
"use strict";

const TRIES = 5;
const PATIENCE_MS = 20_000;
const RETRY_MS = 1000;
const MOST_WAIT_MS = 30_000;
const MINUTE = 60_000;
const READ_MS = 400;
const TYPING_MS = 3000;

const root = document.body.dataset.root;
const desk = document.getElementById("desk");
const rows = document.getElementById("rows");
const list = document.getElementById("list");
const freshRows = document.getElementById("fresh-rows");
const me = desk.dataset.me;
const byId = (id) => document.getElementById(id);

let source = null; // of events
let place = byId("thread").dataset.last ?? "0"; // behind what the thread shows
let held = null; // an order of the list that waits until no hand is on it
let isPointed = false;
let waitMs = RETRY_MS;
let shownHtml = {}; // of the parts of the thread, as the stream brought them
let unsent = null; // what may or may not have arrived, and its key
let replies = null; // what `/` offers, of the chatbot that is open
let chosen = 0;
let there = []; // the operators who are
let readTo = 0; // what the server knows to be read of what is open
let reading = 0; // the timer of that mark
let writers = []; // besides who is here
let typedAt = 0;
let heard = null; // since when waits are told of, by the server's clock

function start() {
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKey);
  document.addEventListener("submit", onSubmit);
  document.addEventListener("input", onInput);
  document.addEventListener("change", onChange);
  document.addEventListener("visibilitychange", markRead);
  addEventListener("popstate", () => load(location.href, false));
  list.addEventListener("pointerenter", () => (isPointed = true));
  list.addEventListener("pointerleave", () => {
    isPointed = false;
    settle();
  });
  list.addEventListener("focusout", () => setTimeout(settle));
  freshRows.addEventListener("click", () => settle(true));
  setInterval(tellTimes, MINUTE / 4);
  setUpTelling();
  arrive();
}

// --- what is open ---

function opened() {
  return byId("thread").dataset.open ?? "";
}

function arrive() {
  const thread = byId("thread");
  place = thread.dataset.last ?? "0";
  shownHtml = {};
  replies = null;
  readTo = typedAt = 0;
  writers = [];
  tellTimes();
  showThere();
  markOpen();
  toEnd();
  byId("items")?.addEventListener("toggle", (event) => showQuoted(event.target), true);
  if (byId("composer")) {
    setMode("reply", false);
    const text = byId("text");
    text.value = sessionStorage.getItem(draftKey("reply")) ?? "";
    fit(text);
  }
  follow();
  markRead();
}

// A page of ours, of which the thread and the side are put in place of those that are shown.
async function load(address, isPushed = true) {
  const response = await fetch(address, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!response?.ok) {
    if (response) location.assign(address);
    else showOffline(true);
    return;
  }
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!fresh.getElementById("desk")) return location.assign(address);
  if (isPushed) history.pushState(null, "", address);
  for (const id of ["thread", "person"]) byId(id).replaceWith(document.adoptNode(fresh.getElementById(id)));
  for (const id of ["assign", "snooze", "sure", "fix"]) {
    const [old, made] = [byId(id), fresh.getElementById(id)];
    old?.remove();
    if (made) document.body.append(document.adoptNode(made));
  }
  document.body.className = fresh.body.className;
  shownTitle = fresh.title;
  tellTitle();
  arrive();
}

function markOpen() {
  for (const row of rows.children) {
    const link = row.firstElementChild;
    if (row.dataset.key === opened() && Number(row.dataset.seq) <= readTo) row.querySelector(".fresh")?.remove();
    if (row.dataset.key === opened()) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

// --- the stream ---

function follow() {
  source?.close();
  const query = new URLSearchParams(desk.dataset.query);
  if (opened()) {
    query.set("open", decodeURIComponent(opened()));
    query.set("after", place);
  }
  source = new EventSource(`${root}/web/inbox/events?${query}`);
  const on = (name, take) => source.addEventListener(name, (event) => take(JSON.parse(event.data), event.lastEventId));
  source.addEventListener("open", () => {
    waitMs = RETRY_MS;
    showOffline(false);
  });
  on("row", takeRows);
  on("counts", takeCounts);
  on("change", takeChange);
  on("delta", takeDelta);
  on("typing", ({ names }) => showWriters(names));
  on("presence", takePresence);
  on("stale", () => load(location.href, false));
  on("closed", () => location.assign(`${root}/inbox?${desk.dataset.query}`));
  on("gone", () => location.reload());
  source.addEventListener("error", () => {
    showOffline(true);
    // Most breaks the browser mends itself, with Last-Event-ID; what a proxy answered in our place, it does not.
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(follow, waitMs);
    waitMs = Math.min(waitMs * 2, MOST_WAIT_MS);
  });
}

function showOffline(isOffline) {
  byId("offline").hidden = !isOffline;
}

// --- the list ---

// Rows are changed where they stand at once; they move, come and go when no hand is on the list.
function takeRows({ order, changed }) {
  const fresh = new Map(held?.fresh);
  for (const { key, html } of changed) {
    const row = fragment(html).firstElementChild;
    const shown = rowOf(key);
    if (shown) replaceRow(shown, row);
    else fresh.set(key, row);
  }
  held = { order, fresh };
  settle();
}

function rowOf(key) {
  return [...rows.children].find((row) => row.dataset.key === key);
}

function replaceRow(shown, row) {
  if (held?.fresh.has(row.dataset.key)) held.fresh.delete(row.dataset.key);
  const isFocused = shown.contains(document.activeElement);
  localise(row);
  if (shown.outerHTML === row.outerHTML) return;
  shown.replaceWith(row);
  if (isFocused) row.firstElementChild.focus();
  markOpen();
}

function settle(isWanted = false) {
  if (!held) return;
  const shown = [...rows.children].map((row) => row.dataset.key);
  const isOnlyLonger = shown.every((key, at) => held.order[at] === key);
  const isUnderHand = isPointed || list.contains(document.activeElement);
  const isSame = isOnlyLonger && shown.length === held.order.length;
  if (!isWanted && isUnderHand && !isOnlyLonger) {
    const come = held.order.filter((key) => !shown.includes(key)).length;
    for (const row of rows.children) row.classList.toggle("gone", !held.order.includes(row.dataset.key));
    freshRows.textContent = come ? `${come} new: show` : "Show the new order";
    if (freshRows.hidden) announce(come ? `${come} new in the list.` : "The list has a new order.");
    freshRows.hidden = false;
    return;
  }
  if (!isSame) arrange();
  held = null;
  freshRows.hidden = true;
  byId("nothing").hidden = rows.children.length > 0;
  markOpen();
}

function arrange() {
  const focused = document.activeElement?.closest?.("#rows > li")?.dataset.key;
  const known = new Map([...rows.children].map((row) => [row.dataset.key, row]));
  const wanted = held.order.map((key) => known.get(key) ?? held.fresh.get(key)).filter(Boolean);
  for (const row of wanted) {
    row.classList.remove("gone");
    if (!row.className.trim()) row.removeAttribute("class");
    localise(row);
  }
  const scrolled = rows.scrollTop;
  rows.replaceChildren(...wanted);
  rows.scrollTop = scrolled;
  if (focused) (rowOf(focused) ?? rows.firstElementChild)?.firstElementChild.focus();
}

function takeCounts({ waits, ...counts }) {
  for (const [view, count] of Object.entries(counts)) {
    const shown = document.querySelector(`[data-count="${view}"]`);
    shown.textContent = count;
    shown.hidden = count === "0";
  }
  waitingCount = counts.waiting;
  tellTitle();
  tellOf(waits);
}

// --- the thread ---

function takeChange({ items, spoke = [], removed, is_stale, head, proposals, person }, id) {
  place = id || place;
  if (is_stale) return load(location.href, false);
  const isBelow = isAtEnd();
  for (const item of items) put(item);
  for (const each of removed) byId(`message-${each}`)?.remove();
  swap("head", head);
  swap("proposals", proposals);
  swap("person", person);
  if (!byId("items").querySelector("[data-turn]")) for (const each of byId("items").querySelectorAll(".coming")) each.remove();
  showWriters(writers.filter((name) => !spoke.includes(name)));
  showMode();
  markRead();
  if (isBelow) toEnd();
}

function put({ id, seq, html }) {
  const items = byId("items");
  if (seq <= Number(byId("thread").dataset.first)) return; // older than the page goes back
  const made = fragment(html).firstElementChild;
  localise(made);
  const shown = byId(`message-${id}`);
  if (shown?.dataset.seq === made.dataset.seq) {
    for (const open of shown.querySelectorAll("details[open]")) {
      const same = [...made.querySelectorAll("details")].find((each) => each.id === open.id && each.className === open.className);
      if (same) same.open = true;
    }
    return shown.replaceWith(made);
  }
  shown?.remove(); // it was being written
  const next = [...items.children].find((each) => Number(each.dataset.seq ?? (each.matches(".coming") ? Infinity : 0)) > seq);
  items.insertBefore(made, next ?? null);
}

function swap(id, html) {
  if (html === undefined || shownHtml[id] === html) return;
  const isEdited = id === "proposals" && byId(id).querySelector("textarea:not([hidden])");
  const made = fragment(html);
  const isSameProposal = isEdited && made.querySelector(`[data-proposal="${isEdited.closest("[data-proposal]").dataset.proposal}"]`);
  if (isSameProposal) return; // somebody writes in it
  shownHtml[id] = html;
  const focused = byId(id).contains(document.activeElement) ? document.activeElement.dataset.do : null;
  byId(id).replaceChildren(made);
  localise(byId(id));
  if (focused) byId(id).querySelector(`[data-do="${focused}"]`)?.focus();
}

function takeDelta({ message_id, offset, text }) {
  const isBelow = isAtEnd();
  let bubble = byId(`message-${message_id}`);
  if (bubble?.dataset.seq) return; // it is stored already
  if (!bubble) {
    bubble = document.createElement("article");
    bubble.id = `message-${message_id}`;
    bubble.className = "say assistant coming";
    bubble.ariaBusy = "true";
    const content = document.createElement("div");
    content.className = "content plain";
    bubble.append(content);
    byId("items").append(bubble);
  }
  const content = bubble.firstElementChild;
  if (offset === 0) content.replaceChildren();
  content.append(text);
  if (isBelow) toEnd();
}

function isAtEnd() {
  const items = byId("items");
  return !items || items.scrollHeight - items.scrollTop - items.clientHeight < 80;
}

function toEnd() {
  const items = byId("items");
  if (items) items.scrollTop = items.scrollHeight;
}

function showQuoted(opened) {
  const excerpt = opened.open && opened.querySelector(":scope > .excerpt");
  const quoted = excerpt?.querySelector("mark");
  if (quoted) excerpt.scrollTop = quoted.offsetTop - excerpt.offsetTop - excerpt.clientHeight / 3;
}

// --- who is at it ---

function showWriters(names) {
  writers = names;
  const shown = byId("writers");
  if (!shown) return;
  const { user } = byId("thread").dataset;
  const called = names.map((name) => (name === user ? byId("head").querySelector("h2").textContent : name));
  const words = called.length > 1 ? `${called.length} people are writing…` : called.length ? `${called[0]} is writing…` : "";
  if (shown.textContent !== words) shown.textContent = words;
}

function tellTyping() {
  const isHeard = mode() === "reply" && state().mine === "true" && byId("text").value.trim();
  if (!isHeard || Date.now() - typedAt < TYPING_MS) return;
  typedAt = Date.now();
  post("typing", which()).catch(() => null);
}

// What is on the screen, in a tab that is looked at, has been read.
function markRead() {
  clearTimeout(reading);
  if (document.hidden || !byId("composer")) return;
  const last = Math.max(0, ...[...byId("items").querySelectorAll(".say[data-seq]")].map((each) => Number(each.dataset.seq)));
  if (last <= readTo) return;
  const open = opened();
  reading = setTimeout(async () => {
    const response = await post("read", { ...which(), seq: last }).catch(() => null);
    if (!response?.ok || opened() !== open) return;
    readTo = Math.max(readTo, last);
    markOpen();
  }, READ_MS);
}

function takePresence({ status, there: names }) {
  there = names;
  if (byId("available")) byId("available").checked = status === "available";
  showThere();
}

function showThere() {
  for (const pick of document.querySelectorAll("#assign [data-assign]")) pick.classList.toggle("there", there.includes(pick.dataset.assign));
}

// --- having something done ---

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

// --- writing ---

function draftKey(mode) {
  return `draft ${mode} ${opened()}`;
}

function mode() {
  return document.querySelector('[data-mode][aria-pressed="true"]')?.dataset.mode ?? "reply";
}

function setMode(wanted, hasFocus = true) {
  const text = byId("text");
  if (!text) return;
  if (wanted !== mode()) {
    sessionStorage.setItem(draftKey(mode()), text.value);
    text.value = sessionStorage.getItem(draftKey(wanted)) ?? "";
  }
  for (const button of document.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", String(button.dataset.mode === wanted));
  showMode();
  fit(text);
  if (hasFocus) text.focus();
}

function showMode() {
  const composer = byId("composer");
  if (!composer) return;
  const isNote = mode() === "note";
  const { operator, mine } = state();
  const isOthers = !isNote && operator && mine !== "true";
  composer.classList.toggle("memo-mode", isNote);
  byId("submit").textContent = isNote ? "Add note" : operator || isOthers ? "Send" : "Take over, send";
  byId("submit").disabled = Boolean(isOthers);
  byId("text-label").textContent = isNote ? "A note for your colleagues" : "Your reply";
  byId("text").placeholder = isNote ? "A note: end users never see it" : isOthers ? `${operator} answers. Take it from them to write.` : "Write a reply";
  byId("mode-hint").textContent = isNote ? "Only operators see this." : isOthers ? "" : `As ${me}`;
}

async function sendText() {
  const text = byId("text");
  const content = text.value;
  const isNote = mode() === "note";
  if (!content.trim() || byId("submit").disabled) return;
  if (unsent?.content !== content || unsent.open !== opened()) unsent = { content, open: opened(), key: newKey() };
  byId("submit").disabled = true;
  const draft = draftKey(mode());
  const isDone = isNote ? await act("note", { content }) : await act("say", { content }, unsent.key);
  byId("submit").disabled = false;
  if (!isDone) return;
  unsent = null;
  sessionStorage.removeItem(draft);
  if (text.value === content) text.value = "";
  closeOffer();
  fit(text);
  toEnd();
  if (isNote) setMode("reply");
  else text.focus();
}

function newKey() {
  // Over plain http there is no randomUUID.
  return crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16)).join("-");
}

function fit(text) {
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight + 2, innerHeight * 0.35)}px`;
}

// --- what `/` offers ---

async function offer() {
  const asked = /^\/(\S*(?: \S*)*)$/.exec(byId("text").value)?.[1];
  if (asked === undefined) return closeOffer();
  if (!replies) {
    const query = new URLSearchParams({ chatbot: byId("thread").dataset.chatbot });
    const response = await fetch(`${root}/web/inbox/replies?${query}`).catch(() => null);
    replies = response?.ok ? await response.json() : [];
  }
  const words = asked.toLowerCase().split(/\s+/).filter(Boolean);
  const found = replies.filter(({ name, content }) => words.every((word) => `${name} ${content}`.toLowerCase().includes(word)));
  found.sort((a, b) => b.name.toLowerCase().startsWith(words[0] ?? "") - a.name.toLowerCase().startsWith(words[0] ?? ""));
  chosen = 0;
  const shown = found.slice(0, 30).map((reply, at) => offered(reply, at));
  if (!shown.length) {
    const none = document.createElement("li");
    none.className = "none hint";
    none.textContent = replies.length ? "None has these words." : "No canned replies yet: the API's canned-replies makes them.";
    shown.push(none);
  }
  byId("replies").replaceChildren(...shown);
  byId("replies").hidden = false;
  announce(found.length === 1 ? "One reply." : `${found.length} replies.`);
  choose(0);
}

function offered({ kind, name, content }, at) {
  const item = document.createElement("li");
  item.id = `offer-${at}`;
  item.role = "option";
  item.dataset.content = content;
  const [label, text, badge] = ["b", "span", "span"].map((tag) => document.createElement(tag));
  label.textContent = kind === "canned" ? `/${name}` : name;
  text.textContent = content;
  badge.className = "badge";
  badge.textContent = kind === "canned" ? "Canned" : "Fixed answer";
  item.append(label, text, badge);
  return item;
}

function choose(step) {
  const options = [...byId("replies").querySelectorAll("[role=option]")];
  if (!options.length) return;
  chosen = (chosen + step + options.length) % options.length;
  for (const [at, option] of options.entries()) option.ariaSelected = String(at === chosen);
  options[chosen].scrollIntoView({ block: "nearest" });
  byId("text").setAttribute("aria-activedescendant", options[chosen].id);
}

function take(option) {
  if (!option) return;
  byId("text").value = option.dataset.content;
  closeOffer();
  keepDraft();
  fit(byId("text"));
  byId("text").focus();
}

function closeOffer() {
  if (!byId("replies") || byId("replies").hidden) return;
  byId("replies").hidden = true;
  byId("text").removeAttribute("aria-activedescendant");
}

function keepDraft() {
  const { value } = byId("text");
  if (value) sessionStorage.setItem(draftKey(mode()), value);
  else sessionStorage.removeItem(draftKey(mode()));
}

// --- hands ---

function onClick(event) {
  const target = event.target.closest("button, a, li[role=option]");
  if (!target) return;
  if (target.matches("li[role=option]")) return take(target);
  if (target.dataset.do) return actions[target.dataset.do]?.(target);
  if (target.dataset.mode) return setMode(target.dataset.mode);
  if (target.dataset.until) return snooze(target.dataset.until);
  if ("assign" in target.dataset) {
    byId("assign").hidePopover();
    return act("change", { assigned_to: target.dataset.assign || null });
  }
  if (target.matches("a.cited")) byId(target.hash.slice(1))?.closest(".sources").querySelectorAll("details").forEach((each) => (each.open ||= each.contains(byId(target.hash.slice(1)))));
  if (target.matches("a.cited")) target.closest(".say, .proposal").querySelector(".sources").open = true;
  const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
  if (isPlain && target.matches("#rows a, .others a")) {
    event.preventDefault();
    load(target.href);
  }
}

function onSubmit(event) {
  const { id } = event.target;
  if (!["composer", "snooze-form", "fix-form"].includes(id)) return;
  event.preventDefault();
  if (id === "composer") sendText();
  else if (id === "fix-form") fix();
  else snooze(new Date(byId("snooze-at").value).toISOString());
}

function onInput(event) {
  if (event.target.id === "text") {
    keepDraft();
    fit(event.target);
    offer();
    tellTyping();
  } else if (event.target.matches(".proposal textarea")) fit(event.target);
}

function onChange(event) {
  if (event.target.id === "chatbot") event.target.form.submit();
  if (event.target.id === "available") post("presence", { status: event.target.checked ? "available" : "away" }).catch(() => null);
}

function onKey(event) {
  if (event.target.id === "text" && onComposerKey(event)) return event.preventDefault();
  const isField = event.target.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (event.key === "Escape" && isField) return event.target.blur();
  if (isField || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("[popover]:popover-open") && event.key !== "?") return;
  if (localStorage.getItem("keys") === "off") return;
  const done = keys[event.key];
  if (!done) return;
  event.preventDefault();
  done();
}

function onComposerKey(event) {
  const isOffered = !byId("replies").hidden;
  if (event.isComposing) return false;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) sendText();
  else if (!isOffered) return false;
  else if (event.key === "ArrowDown") choose(1);
  else if (event.key === "ArrowUp") choose(-1);
  else if (event.key === "Escape") closeOffer();
  else if ((event.key === "Enter" || event.key === "Tab") && byId(`offer-${chosen}`)) take(byId(`offer-${chosen}`));
  else return false;
  event.stopPropagation();
  return true;
}

const press = (name) => byId("head")?.querySelector(`[data-do="${name}"]`)?.click();
const keys = {
  j: () => step(1),
  k: () => step(-1),
  Enter: () => (document.activeElement.closest("a, button, summary") ?? rowOf(opened())?.firstElementChild ?? rows.querySelector("a"))?.click(),
  r: () => setMode("reply"),
  n: () => setMode("note"),
  t: () => press("takeover") ?? press("takeover-from") ?? press("release"),
  e: () => press("close") ?? press("reopen"),
  s: () => press("snooze"),
  a: () => press("assign"),
  f: () => opened() && openFix(),
  "/": () => byId("q").focus(),
  "?": () => byId("help").togglePopover(),
};

// The focus goes through the list; the one that is open is where it begins.
function step(by) {
  const all = [...rows.children];
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const from = at >= 0 ? at : all.findIndex((row) => row.dataset.key === opened());
  const next = all[Math.min(Math.max(from + by, 0), all.length - 1)];
  next?.firstElementChild.focus();
}

// --- telling ---

let shownTitle = document.title;
let waitingCount = document.querySelector('[data-count="waiting"]').textContent;

function tellTitle() {
  document.title = waitingCount === "0" ? shownTitle : `(${waitingCount}) ${shownTitle}`;
}

function setUpTelling() {
  tellTitle();
  heard = Number(desk.dataset.now);
  const switches = { sound: "on", notify: "on", keys: "on" };
  for (const id of Object.keys(switches)) {
    const box = byId(id);
    box.checked = id === "keys" ? localStorage.getItem(id) !== "off" : localStorage.getItem(id) === "on";
    box.addEventListener("change", async () => {
      if (id === "notify" && box.checked && (await globalThis.Notification?.requestPermission()) !== "granted") box.checked = false;
      localStorage.setItem(id, box.checked ? "on" : "off");
    });
  }
  byId("test-sound").addEventListener("click", chime);
}

// Of each that waits once, in whichever tab is first; not of those that a colleague looks after.
async function tellOf(waits) {
  const mine = waits.filter(([, since, operator]) => since > heard && (!operator || operator === me));
  if (!mine.length) return;
  const claim = () => {
    const told = JSON.parse(localStorage.getItem("told") ?? "{}");
    const fresh = mine.filter(([key, since]) => (told[key] ?? 0) < since);
    for (const [key, since] of fresh) told[key] = since;
    const newest = Object.entries(told).sort((a, b) => b[1] - a[1]).slice(0, 200);
    localStorage.setItem("told", JSON.stringify(Object.fromEntries(newest)));
    return fresh;
  };
  const fresh = navigator.locks ? await navigator.locks.request("told", claim) : claim();
  if (!fresh.length) return;
  announce(fresh.length === 1 ? "Somebody waits." : `${fresh.length} more wait.`);
  if (localStorage.getItem("sound") === "on") chime();
  if (localStorage.getItem("notify") !== "on" || globalThis.Notification?.permission !== "granted") return;
  for (const [key] of fresh) {
    const [chatbot, ...rest] = key.split("/");
    const told = new Notification("Somebody waits for a human", { tag: key, icon: `${root}/static/icon.svg` });
    told.addEventListener("click", () => {
      focus();
      load(`${root}/inbox/${chatbot}/${encodeURIComponent(rest.join("/"))}?${desk.dataset.query}`);
    });
  }
}

// Two soft notes, made here: nothing is fetched.
function chime() {
  const audio = new AudioContext();
  for (const [at, pitch] of [[0, 660], [0.14, 880]]) {
    const [tone, volume] = [audio.createOscillator(), audio.createGain()];
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.0001, audio.currentTime + at);
    volume.gain.exponentialRampToValueAtTime(0.2, audio.currentTime + at + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + at + 0.5);
    tone.connect(volume).connect(audio.destination);
    tone.start(audio.currentTime + at);
    tone.stop(audio.currentTime + at + 0.5);
  }
}

function announce(text) {
  byId("announce").textContent = text;
}

// --- times, as the operator's clock has them ---

function tellTimes() {
  localise(document);
}

function localise(part) {
  for (const time of part.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = at.toLocaleString();
    time.textContent = "ago" in time.dataset ? ago(at, time.dataset.ago) : short(at);
  }
}

function short(at) {
  const isToday = at.toDateString() === new Date().toDateString();
  const clock = { hour: "2-digit", minute: "2-digit" };
  return isToday ? at.toLocaleTimeString([], clock) : at.toLocaleString([], { day: "numeric", month: "short", ...clock });
}

function ago(at, kind) {
  const minutes = Math.floor((Date.now() - at) / MINUTE);
  const text = minutes < 1 ? "now" : minutes < 60 ? `${minutes} min` : minutes < 1440 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
  return kind ? (minutes < 1 ? "just now" : `for ${text}`) : text;
}

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

start();
