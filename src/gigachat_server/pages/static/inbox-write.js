// The inbox's composer: replies, notes, drafts, and what `/` offers.
"use strict";

const PLACEHOLDER = /\{(name|operator|chatbot)\}/;

let unsent = null; // what may or may not have arrived, and its key
let replies = null; // what `/` offers, of the chatbot that is open
let chosen = 0;

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
    none.textContent = "None has these words. ";
    if (!replies.length) {
      const link = document.createElement("a");
      link.href = byId("replies").dataset.settings;
      link.textContent = "Write one";
      none.replaceChildren("No canned replies yet. ", link);
    }
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
  item.dataset.content = kind === "canned" ? filled(content) : content;
  const [label, text, badge] = ["b", "span", "span"].map((tag) => document.createElement(tag));
  label.textContent = kind === "canned" ? `/${name}` : name;
  text.textContent = item.dataset.content;
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
  const text = byId("text");
  text.value = option.dataset.content;
  closeOffer();
  keepDraft();
  fit(text);
  text.focus();
  const open = PLACEHOLDER.exec(text.value); // what is not known is selected, to be typed over
  if (open) text.setSelectionRange(open.index, open.index + open[0].length);
}

function filled(content) {
  const { name, bot } = byId("thread").dataset;
  const known = { name, operator: me, chatbot: bot };
  return content.replaceAll(new RegExp(PLACEHOLDER, "g"), (whole, which) => known[which] || whole);
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
