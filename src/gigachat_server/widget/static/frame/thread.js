// The conversation on the screen. What anybody wrote goes through textContent; the only HTML that is put into the page is what
// the server's templates made of stored messages. A reply in the making is plain text, and what of it is complete, as HTML.
"use strict";

const GAP_MS = 30 * 60 * 1000; // between messages, from which on the time is told
const UNSETTLED = ".m:not([data-seq], .failed)"; // on its way, or being written: behind all that is stored
const log = document.getElementById("log");
const main = document.getElementById("main");
const ask = document.getElementById("ask");

// `id` is null until the first prompt is stored; `first`: messages up to it are not shown.
const conversation = { id: null, first: 0, control: { state: "bot", name: "" }, typing: false };

// --- prompts on their way ---

function showPending(entry) {
  refused(entry.key)?.remove();
  for (const each of log.querySelectorAll(".why")) each.remove();
  const bubble = built("article", { class: "m user pending", "data-key": entry.key, "data-role": "user", "data-at": entry.at * 1000 });
  bubble.append(built("p", { class: "by unseen" }, text.you), built("div", { class: "bubble" }));
  bubble.lastChild.append(built("div", { class: "content plain", dir: "auto" }, entry.text));
  log.append(...timeLine(entry.at), bubble);
  refresh();
  toEnd(true);
}

function refused(key) {
  return log.querySelector(`[data-key="${key}"]`);
}

function settlePending(entry, id) {
  const shown = refused(entry.key);
  if (!shown) return;
  if (document.getElementById(`m-${id}`)) shown.remove(); // the stream was faster
  else Object.assign(shown, { id: `m-${id}` }).classList.remove("pending");
  refresh();
}

function showRefused(entry, why) {
  const shown = refused(entry.key);
  if (!shown) return;
  shown.classList.replace("pending", "failed");
  const note = built("p", { class: "note" }, `${why} `);
  const retry = built("button", { type: "button", class: "worded" }, text.send_again);
  retry.addEventListener("click", () => again(entry));
  const discard = built("button", { type: "button", class: "worded" }, text.discard);
  discard.addEventListener("click", () => (drop(entry), shown.remove(), refresh()));
  note.append(retry, discard);
  shown.append(note);
  refresh();
}

// --- what the stream tells ---

// In its place, whatever was shown of it before, and wherever.
function put({ id, seq, role, html }) {
  if (seq <= conversation.first) return; // older than what is shown
  const fresh = decorated(fragment(html)).firstElementChild;
  const shown = document.getElementById(`m-${id}`) ?? (role === "user" ? inFlight(fresh) : null);
  if (shown?.dataset.seq) return renew(shown, fresh);
  shown?.remove();
  const next = nextTo(seq);
  if (shown) log.insertBefore(fresh, next);
  else log.insertBefore(built("span"), next).replaceWith(...timeLine(fresh.dataset.at / 1000, next), fresh);
  if (shown?.classList.contains("writing") || shown?.classList.contains("pending")) fresh.classList.add("settled");
}

// What comes behind a message or a line of that place.
function nextTo(seq) {
  return [...log.children].find((each) => Number(each.dataset.seq) > seq) ?? log.querySelector(UNSETTLED);
}

// The stream may be faster than the answer to what was sent.
function inFlight(fresh) {
  const said = fresh.querySelector(".content").textContent.trim();
  return [...log.querySelectorAll(".pending")].find((each) => each.querySelector(".content").textContent.trim() === said);
}

// Leaves alone what did not change, so that nothing is read out again, is closed or loses the focus without need.
function renew(shown, fresh) {
  for (const { name, value } of fresh.attributes) if (name !== "class") shown.setAttribute(name, value);
  for (const { name } of [...shown.attributes]) if (!fresh.hasAttribute(name)) shown.removeAttribute(name);
  shown.className = fresh.className;
  let old = shown.firstElementChild;
  for (const part of [...fresh.children]) {
    if (old?.isEqualNode(part) || (old?.matches(".acts") && part.matches(".acts"))) {
      for (const button of part.querySelectorAll("[aria-pressed]")) {
        const same = old.querySelector(`[data-rating="${button.dataset.rating}"]`);
        if (same) same.ariaPressed = button.ariaPressed;
      }
      old = old.nextElementSibling;
    } else shown.insertBefore(part, old);
  }
  while (old && !old.matches(".why")) {
    const next = old.nextElementSibling;
    old.remove();
    old = next;
  }
}

function writing() {
  const bubble = document.getElementById("typing").content.firstElementChild.cloneNode(true);
  if (conversation.control.state === "operator") {
    bubble.classList.replace("assistant", "operator");
    const avatar = built("span", { class: "avatar person", "aria-hidden": "true" }, initialOf(conversation.control.name));
    bubble.querySelector(".avatar").replaceWith(avatar);
  }
  return bubble;
}

function applyDelta({ message_id: id, offset, text: piece }) {
  let bubble = document.getElementById(`m-${id}`);
  if (bubble?.dataset.seq) return; // it is stored already
  if (!bubble) {
    bubble = log.querySelector(".writing:not([id])") ?? writing();
    log.insertBefore(bubble, log.querySelector(".user:not([data-seq], .failed)")); // what is not stored yet comes behind it
    bubble.id = `m-${id}`;
    bubble.known = 0;
  }
  if (offset !== bubble.known) return; // its beginning is not known here; the whole comes at its end
  bubble.known += [...piece].length;
  const content = bubble.querySelector(".content");
  bubble.classList.add("begun");
  if (content.lastChild?.nodeType === Node.TEXT_NODE) content.lastChild.appendData(piece);
  else content.append(piece);
}

// What is complete of a reply in the making, as it will be: it takes the place of its plain text.
function applyBlock({ message_id: id, start, end, html }) {
  const bubble = document.getElementById(`m-${id}`);
  const content = bubble?.querySelector(".content");
  const tail = content?.lastChild;
  if (!bubble?.matches(".writing") || tail?.nodeType !== Node.TEXT_NODE || (bubble.upTo ?? 0) !== start) return;
  bubble.upTo = end;
  tail.data = [...tail.data].slice(end - start).join("");
  tail.before(decorated(fragment(html)));
  content.classList.replace("plain", "markdown");
}

// Somebody came or went.
function putLine({ seq, kind, name }) {
  if (log.querySelector(`.line[data-seq="${seq}"]`) || seq <= conversation.first) return;
  const line = built("p", { class: "line", "data-seq": seq }, (text[`line_${kind}`] ?? "").replace("{name}", name));
  log.insertBefore(line, nextTo(seq));
}

function putControl(control) {
  conversation.control = control;
  conversation.typing = false;
  log.querySelector(".writing:not([id])")?.remove();
  if (control.state === "operator") ask.replaceChildren(); // they can be asked now
}

// --- the whole of it ---

// How things stand, from what is shown.
function refresh() {
  const isAnswering = Boolean(log.querySelector("[data-turn]"));
  const isHuman = conversation.control.state === "operator";
  const isExpected = !isHuman && Boolean(log.querySelector('[data-turn="running"], .pending, .user[id]:not([data-seq])'));
  const dots = log.querySelector(".writing:not([id])");
  if (!isAnswering) for (const each of log.querySelectorAll(".writing[id]")) if (!isExpected) each.remove(); // nothing of it was stored
  if ((isExpected && !log.querySelector(".writing[id]")) || (isHuman && conversation.typing)) {
    if (log.lastElementChild !== dots) log.append(dots ?? writing());
  } else dots?.remove();
  const last = [...log.querySelectorAll(".m:has(.again)")].at(-1);
  for (const each of log.querySelectorAll(".m.newest")) each.classList.toggle("newest", each === last);
  last?.classList.toggle("newest", !isAnswering && !isHuman);
  document.getElementById("stop").hidden = !isAnswering;
  document.getElementById("send").hidden = isAnswering && !document.getElementById("prompt").value.trim();
  document.getElementById("welcome").hidden = Boolean(log.firstElementChild) || conversation.isListed;
  showPresence();
}

function showPresence() {
  const { state, name } = conversation.control;
  const isHuman = state === "operator";
  const words = conversation.typing ? text.typing : text[`status_${state}`];
  const presence = document.getElementById("presence");
  if (presence.textContent !== words.replace("{name}", name)) presence.textContent = words.replace("{name}", name);
  document.body.dataset.state = state;
  const avatar = document.getElementById("avatar");
  avatar.classList.toggle("person", isHuman);
  avatar.classList.toggle("bot", !isHuman);
  if (isHuman) avatar.textContent = initialOf(name);
  else if (!avatar.querySelector("svg")) avatar.replaceChildren(writing().querySelector(".avatar svg"));
}

function clearThread() {
  log.ariaLive = "off";
  log.replaceChildren();
  ask.replaceChildren();
  ask.hidden = true;
  document.getElementById("earlier").hidden = true;
  Object.assign(conversation, { id: null, first: 0, typing: false, control: { state: "bot", name: "" } });
}

// History is not read out: what comes from now on is.
function showHistory({ html, lines, first, control }, isEarlier = false) {
  const height = main.scrollHeight;
  const found = decorated(fragment(html));
  const shown = [];
  let before = 0;
  for (const each of [...found.children]) {
    const at = each.dataset.at / 1000;
    if (at - before > GAP_MS) shown.push(timeOf(at));
    shown.push(each);
    before = at;
  }
  if (isEarlier) log.prepend(...shown);
  else log.append(...shown);
  conversation.first = first;
  document.getElementById("earlier").hidden = first === 0;
  for (const line of lines) putLine(line);
  if (isEarlier) main.scrollTop += main.scrollHeight - height;
  else putControl(control);
}

function timeLine(at, next = null) {
  const before = next ? next.previousElementSibling : log.lastElementChild;
  const shown = [...log.querySelectorAll("[data-at]")].filter((each) => !next || each.compareDocumentPosition(next) & 4).at(-1);
  return before && shown && at - shown.dataset.at / 1000 < GAP_MS ? [] : [timeOf(at)];
}

function timeOf(at) {
  const day = new Date(at).toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
  const words = new Intl.DateTimeFormat(given.locale, { hour: "numeric", minute: "2-digit", ...day }).format(at);
  return built("p", { class: "time", "aria-hidden": "true" }, words);
}

// --- parts ---

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

// Code can be copied, and wide tables scroll in a box of their own.
function decorated(found) {
  for (const pre of found.querySelectorAll("pre")) {
    const copy = built("button", { type: "button", class: "worded", "data-do": "copy-code" }, text.copy);
    pre.replaceWith(Object.assign(built("div", { class: "code" }), {}));
    found.querySelector(".code:empty").append(pre, copy);
    pre.tabIndex = 0;
  }
  for (const table of found.querySelectorAll("table")) {
    const box = built("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": text.table });
    table.replaceWith(box);
    box.append(table);
  }
  return found;
}

function built(tag, attributes = {}, words = "") {
  const made = document.createElement(tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  if (words) made.textContent = words;
  return made;
}

function initialOf(name) {
  return [...name.trim()][0]?.toUpperCase() ?? "?";
}

// What is new is followed until somebody scrolls up.
let isFollowing = true;
let scrolledTo = 0;

function isAtEnd() {
  return main.scrollHeight - main.scrollTop - main.clientHeight < 60;
}

main.addEventListener(
  "scroll",
  () => {
    if (isAtEnd()) isFollowing = true;
    else if (main.scrollTop < scrolledTo - 2) isFollowing = false;
    scrolledTo = main.scrollTop;
    if (isFollowing) document.getElementById("newest").hidden = true;
  },
  { passive: true },
);

function toEnd(isSmooth = false) {
  const behavior = isSmooth && !matchMedia("(prefers-reduced-motion: reduce)").matches ? "smooth" : "instant";
  isFollowing = true;
  main.scrollTo({ top: main.scrollHeight, behavior });
  document.getElementById("newest").hidden = true;
}

function notice(words) {
  const shown = document.getElementById("notice");
  if (shown.textContent !== words) shown.textContent = words;
  shown.hidden = !words;
}
