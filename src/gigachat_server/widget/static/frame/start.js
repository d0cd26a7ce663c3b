// What the visitor does, and the chat around the conversation: starting, the list, the menu, colours, what is asked of them.
"use strict";

const promptField = document.getElementById("prompt");
const choices = document.getElementById("choices");
const menu = document.getElementById("menu");
const READ_MS = 400;

let isOpen = !isFramed;
let stream = null;
let unread = 0;
let reading = 0; // the timer of the read mark
let readTo = 0;
let typedAt = 0;
let openings = 0; // only what the last of them has found is shown

let begun;
const started = new Promise((resolve) => (begun = resolve)); // what is said before the page has answered waits for it

wire();
meet(start, onMessage);

function start({ stored, isNamed: named, isOpen: open, context: about, given: theirs }) {
  isNamed = Boolean(named);
  context = about ?? null;
  isOpen = open;
  kept = stored ?? {};
  // A user's conversation is theirs alone: whoever is here without them begins anew.
  if (kept.subject && !isNamed) kept = {};
  dress(theirs ?? {});
  refresh();
  begun();
  if (isNamed || kept.token) resume();
  else takeUp(kept.outbox ?? []);
  if (isOpen) focusPrompt();
  emit("ready");
}

async function resume() {
  const { conversation: id, outbox: entries = [] } = kept;
  try {
    if (isNamed) await bearer();
    await openConversation(kept.conversation ?? id ?? null);
  } catch (error) {
    complain(error);
    if (!(error instanceof Refusal) || error.mayPass) setTimeout(resume, 5000);
  }
  takeUp(entries);
}

function onMessage(message) {
  const { type } = message;
  if (type === "open") {
    isOpen = true;
    focusPrompt();
    markRead();
  } else if (type === "close") isOpen = false;
  else if (type === "send") message.text.trim() && message.text.length <= 32_000 && post(message.text);
  else if (type === "context") context = message.context;
  else if (type === "theme") dress(message.theme);
  else if (type === "user") signIn();
  else if (type === "stored") adopt(message.stored ?? {});
}

// Another tab of this site opened a session, or began to talk.
function adopt(stored) {
  const hadToken = kept.token;
  kept = { ...kept, ...stored };
  if (!hadToken && kept.token && !isNamed && conversation.id === null && kept.conversation) openConversation(kept.conversation).catch(complain);
}

async function signIn() {
  isNamed = true;
  userToken = "";
  await bearer().catch(complain);
  if (kept.conversation !== conversation.id) openConversation(kept.conversation ?? null).catch(complain);
}

// Nothing of whoever was here before is left: not on the screen, not in the page's storage, not in other tabs.
function forgetAll() {
  stream?.close();
  stream = null;
  outbox.length = 0;
  kept = {};
  keep({ set: { token: null, conversation: null, subject: undefined } });
  readTo = unread = 0;
  clearThread();
  notice("");
  emit("unread", 0);
  refresh();
}

// --- conversations ---

// The first prompt of a new one was stored.
function begin(id) {
  conversation.id = id;
  keep({ set: { conversation: id } });
  follow("0");
}

async function openConversation(id) {
  const mine = (openings += 1);
  stream?.close();
  stream = null;
  showList(false);
  clearThread();
  if (id === null) {
    keep({ set: { conversation: null } });
    return refresh();
  }
  conversation.id = id; // what is said from now on is said here
  const found = await call(`conversation?id=${encodeURIComponent(id)}`).catch((error) => {
    if (error.status === 404) return null; // deleted
    throw error;
  });
  if (mine !== openings) return undefined;
  if (!found) return openConversation(null);
  log.replaceChildren();
  keep({ set: { conversation: id } });
  showHistory(found);
  readTo = found.read;
  unread = found.unread;
  emit("unread", isOpen ? 0 : unread);
  if (found.csat) askForRating(found.csat);
  for (const each of outbox) if (each.conversation === id) showPending(each);
  refresh();
  toEnd();
  markRead();
  requestAnimationFrame(() => (log.ariaLive = "polite"));
  follow(String(found.seq));
}

function follow(place) {
  stream?.close();
  stream = new Stream(conversation.id, place, onEvent);
  log.ariaLive = "polite";
}

function onEvent({ name, data }) {
  if (name === "change") applyChange(data);
  else if (name === "delta") applyDelta(data);
  else if (name === "block") applyBlock(data);
  else if (name === "typing") conversation.typing = data.is_typing;
  else if (name === "gone") data.status === 404 ? openConversation(null) : complain(data);
  refresh();
  if (isFollowing) toEnd();
  else if (name === "change") document.getElementById("newest").hidden = false;
}

function applyChange({ messages, control, line, csat, is_stale: isStale }) {
  if (isStale) return openConversation(conversation.id).catch(complain);
  if (control) putControl(control);
  if (line) putLine(line);
  for (const message of messages) {
    const isNew = !document.querySelector(`#m-${CSS.escape(message.id)}[data-seq]`);
    put(message);
    if (!isNew || message.role === "user") continue;
    emit("message", { id: message.id, role: message.role });
    if (!isSeen()) emit("unread", (unread += 1));
    else markRead();
  }
  if (control?.state === "waiting") {
    emit("handoff");
    askForContact("handoff");
  }
  if (csat) askForRating(csat);
  return undefined;
}

async function loadEarlier() {
  const { id, first } = conversation;
  const found = await call(`conversation?id=${encodeURIComponent(id)}&before=${first + 1}`);
  if (conversation.id !== id || conversation.first !== first) return; // it is there already, or not asked for any more
  log.ariaLive = "off";
  showHistory(found, true);
  requestAnimationFrame(() => (log.ariaLive = "polite"));
}

async function showList(isShown = true) {
  const list = document.getElementById("list");
  conversation.isListed = isShown;
  list.hidden = !isShown;
  document.body.classList.toggle("listed", isShown);
  if (!isShown) return;
  const items = list.querySelector("ul");
  items.replaceChildren();
  const found = isNamed || kept.token ? await call("conversations").catch(() => []) : [];
  if (!found.length) items.append(built("li", { class: "none" }, text.no_conversations));
  for (const each of found) {
    const button = built("button", { type: "button" });
    button.append(built("bdi", {}, each.title), built("small", {}, timeOf(each.at / 1000).textContent));
    if (each.unread) button.append(built("b", { "aria-label": text.unread.replace("{n}", each.unread) }, String(each.unread)));
    button.addEventListener("click", () => openConversation(each.id).catch(complain));
    const item = built("li");
    item.append(button);
    items.append(item);
  }
  refresh();
  list.querySelector("button")?.focus();
}

// --- reading and typing ---

function isSeen() {
  return isOpen && !document.hidden;
}

function markRead() {
  clearTimeout(reading);
  const { id } = conversation;
  if (!isSeen() || id === null) return;
  const last = Number([...log.querySelectorAll(".m[data-seq]")].at(-1)?.dataset.seq ?? 0);
  if (unread) emit("unread", (unread = 0));
  if (last <= readTo) return;
  reading = setTimeout(async () => {
    readTo = last;
    await call("read", { method: "POST", body: { conversation_id: id, seq: last } }).catch(() => (readTo = 0));
  }, READ_MS);
}

function onTyping() {
  fit();
  document.getElementById("send").disabled = !promptField.value.trim();
  refresh();
  const isHeard = conversation.id !== null && conversation.control.state !== "bot" && promptField.value.trim();
  if (!isHeard || Date.now() - typedAt < 3000) return;
  typedAt = Date.now();
  call("typing", { method: "POST", body: { conversation_id: conversation.id } }).catch(() => null);
}

// --- what is asked of the visitor ---

function askForRating({ seq, name }) {
  const form = built("form", { class: "card", "aria-label": text.csat_title.replace("{name}", name) });
  form.append(built("h2", {}, text.csat_title.replace("{name}", name)));
  const faces = form.appendChild(built("div", { class: "faces", role: "group" }));
  ["😞", "🙁", "😐", "🙂", "😀"].forEach((face, place) => {
    const label = text[`csat_${place + 1}`];
    const button = built("button", { type: "button", "aria-label": label, title: label, "aria-pressed": "false" }, face);
    button.addEventListener("click", () => {
      for (const each of faces.children) each.ariaPressed = String(each === button);
      form.score = place + 1;
      more.hidden = false;
      rate();
    });
    faces.append(button);
  });
  const more = form.appendChild(built("div", { class: "row", hidden: "" }));
  const field = built("input", { "aria-label": text.csat_comment, placeholder: text.csat_comment, maxlength: "2000", dir: "auto" });
  more.append(field, built("button", { class: "primary" }, text.submit));
  const rate = () =>
    call("csat", {
      method: "POST",
      body: { conversation_id: conversation.id, seq, score: form.score, comment: field.value },
    });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    rate().then(() => thank(form), complain);
  });
  showAsk(form);
}

function askForContact(when) {
  if (given.settings.ask_contact !== when || kept.hasContact || isNamed) return;
  const form = built("form", { class: "card", "aria-label": text.contact_title });
  form.append(built("h2", {}, text.contact_title), built("p", {}, text.contact_note));
  const fields = ["name", "email"].map((name) => {
    const label = built("label", {}, text[`contact_${name}`]);
    const type = name === "email" ? "email" : "text";
    label.append(built("input", { name, type, maxlength: "255", autocomplete: name, dir: "auto" }));
    return form.appendChild(label).lastChild;
  });
  form.append(built("button", { class: "primary" }, text.submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = Object.fromEntries(fields.filter((each) => each.value.trim()).map((each) => [each.name, each.value.trim()]));
    await call("profile", { method: "POST", body }).then(
      () => (keep({ set: { hasContact: true } }), thank(form)),
      complain,
    );
  });
  showAsk(form);
}

function showAsk(form) {
  ask.replaceChildren(form);
  ask.hidden = false;
  toEnd();
}

function thank(form) {
  form.replaceChildren(built("p", { role: "status" }, text.thanks));
  focusPrompt();
}

function askWhy(article) {
  article.querySelector(".why")?.remove();
  const form = built("form", { class: "why row" });
  const field = built("input", { "aria-label": text.why, placeholder: text.why, maxlength: "2000", dir: "auto" });
  form.append(field, built("button", { class: "primary" }, text.submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await rateReply(article, "down", field.value).catch(complain);
    form.replaceChildren(built("p", { role: "status" }, text.thanks));
    article.querySelector('[data-rating="down"]').focus();
  });
  article.append(form);
  field.focus();
}

function rateReply(article, rating, words = "") {
  return call("rate", {
    method: "POST",
    body: { conversation_id: conversation.id, message_id: article.dataset.id, rating, text: words },
  });
}

// --- what is done ---

const ACTS = {
  copy: (article, button) => copy(article.querySelector(".content").innerText, button),
  "copy-code": (_, button) => copy(button.parentElement.querySelector("pre").innerText, button),
  retry: (article) => done("retry", { message_id: article.dataset.id }),
  async rate(article, button) {
    const rating = button.ariaPressed === "true" ? null : button.dataset.rating;
    for (const each of article.querySelectorAll("[data-rating]")) each.ariaPressed = String(each === button && rating !== null);
    await rateReply(article, rating).catch(complain);
    if (rating === "down") askWhy(article);
    else article.querySelector(".why")?.remove();
  },
  new: () => openConversation(null).then(focusPrompt),
  list: () => showList(true),
  handoff: () => (conversation.id ? done("handoff", {}) : post(text.handoff)),
};

function done(what, fields) {
  const body = { conversation_id: conversation.id, ...fields };
  return call(what, { method: "POST", body, key: newKey() }).then(
    () => notice(""),
    complain,
  );
}

async function copy(words, button) {
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    const field = document.body.appendChild(Object.assign(built("textarea", { class: "unseen" }), { value: words }));
    field.select();
    document.execCommand("copy"); // where the newer way is not allowed
    field.remove();
    button.focus();
  }
  document.getElementById("said").textContent = text.copied;
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1500);
}

function say() {
  const words = promptField.value;
  if (!words.trim()) return;
  promptField.value = "";
  if (conversation.isListed) showList(false);
  started.then(() => post(words));
  onTyping();
  promptField.focus();
}

// --- the chat around it ---

function wire() {
  document.getElementById("composer").addEventListener("submit", (event) => (event.preventDefault(), say()));
  promptField.addEventListener("input", onTyping);
  promptField.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    say();
  });
  document.getElementById("stop").addEventListener("click", () => done("stop", {}).then(focusPrompt));
  document.getElementById("close")?.addEventListener("click", () => tell({ type: "close" }));
  document.getElementById("back").addEventListener("click", () => (conversation.isListed ? openConversation(conversation.id).catch(complain) : showList(true)));
  document.getElementById("earlier").addEventListener("click", () => loadEarlier().catch(complain));
  document.getElementById("newest").addEventListener("click", () => toEnd(true));
  menu.addEventListener("click", () => openMenu(choices.hidden));
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (!choices.hidden) openMenu(false), menu.focus();
    else tell({ type: "close" });
  });
  document.addEventListener("visibilitychange", markRead);
  log.addEventListener("toggle", ({ target }) => showQuoted(target), true);
}

function onClick({ target }) {
  if (!menu.contains(target)) openMenu(false);
  const link = target.closest("a.cited");
  const goal = link && document.getElementById(link.hash.slice(1));
  for (let each = goal; each && each !== log; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  const button = target.closest("button[data-do]");
  if (choices.contains(button)) menu.focus(); // its button is gone from under the focus
  if (button) ACTS[button.dataset.do](button.closest("article"), button);
}

// An opened source shows what the reply quotes.
function showQuoted(source) {
  const quote = source.open && source.querySelector(":scope > blockquote");
  const marked = quote?.querySelector("mark");
  if (marked) quote.scrollTop = marked.offsetTop - quote.offsetTop - quote.clientHeight / 3;
}

function openMenu(isShown) {
  choices.hidden = !isShown;
  menu.ariaExpanded = String(isShown);
  if (isShown) choices.querySelector("button").focus();
}

function focusPrompt() {
  promptField.focus({ preventScroll: true });
}

function fit() {
  promptField.style.height = "auto";
  promptField.style.height = `${Math.min(promptField.scrollHeight, innerHeight * 0.4)}px`;
}

// Under the key's settings, those of the page.
function dress({ theme, accent, greeting, starters }) {
  const root = document.documentElement;
  const settings = Object.assign(given.settings, JSON.parse(JSON.stringify({ theme, accent, greeting, starters })));
  if (settings.theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = settings.theme;
  if (/^#[0-9a-f]{6}$/i.test(settings.accent)) {
    root.style.setProperty("--accent", settings.accent);
    root.style.setProperty("--on-accent", luminance(settings.accent) > 0.18 ? "#111" : "#fff");
  }
  document.getElementById("greeting").textContent = settings.greeting || text.greeting;
  const list = document.getElementById("starters");
  list.replaceChildren();
  for (const starter of (settings.starters ?? []).slice(0, 4)) {
    const button = built("button", { type: "button", dir: "auto" }, starter);
    button.addEventListener("click", () => post(starter));
    list.appendChild(built("li")).append(button);
  }
  if (conversation.id === null) askForContact("start");
}

function luminance(colour) {
  const [red, green, blue] = colour.match(/[^#]{2}/g).map((pair) => (parseInt(pair, 16) / 255) ** 2.2);
  return 0.21 * red + 0.72 * green + 0.07 * blue;
}
