// Has things done, and shows what comes of them. Everything that changes on the page comes from the stream of the
// conversation's events, so nothing is shown twice and what others do appears by itself. Text from anybody goes through
// textContent; the only HTML put into the page is that of `change` events, which the server made from its own templates.
"use strict";

const TRIES = 6;
const PATIENCE_MS = 20_000;
const MOST_WAIT_MS = 30_000;
const SLOW_MS = 5_000;

const composer = document.getElementById("composer");
const messages = document.getElementById("messages");
const control = document.getElementById("control");
const promptField = document.getElementById("prompt");
const operatorField = document.getElementById("operator-name"); // where the session does not tell who speaks

let source = null; // of events, while the page is looked at
const root = document.body.dataset.root; // the path before those of all pages
let place = messages?.dataset.last ?? "0"; // behind what is shown
let isBegun = Number(place) > 0; // there is something to follow
let unsent = null; // the prompt that may or may not have arrived: its text, body, key and bubble
let slowness = 0; // the timer after which the page says that it takes long
const attempts = new Set(); // requests under way, each with what ends it

if (composer) start();

function start() {
  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  promptField.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  promptField.addEventListener("input", refresh);
  document.getElementById("speakers")?.addEventListener("input", (event) => {
    if (event.target === operatorField) speakAs("operator"); // typing a name selects it
    else refresh();
  });
  document.getElementById("again").addEventListener("click", tryAgain);
  document.getElementById("stop").addEventListener("click", () => act("stop").then(() => promptField.focus()));
  for (const button of document.querySelectorAll("[data-prompt]")) {
    button.addEventListener("click", () => {
      promptField.value = button.dataset.prompt;
      send();
    });
  }
  messages.addEventListener("click", (event) => {
    actOnMessage(event.target.closest("button"));
    openCited(event.target.closest("a.cited"));
  });
  // Opened, a source shows what the reply quotes; the page itself stays where it is.
  messages.addEventListener("toggle", (event) => showQuoted(event.target), true);
  control.addEventListener("submit", (event) => {
    event.preventDefault();
    takeOver(event.target.elements.operator?.value ?? operatorName());
  });
  control.addEventListener("click", (event) => {
    const button = event.target.closest("[data-release]");
    if (button) release(button.dataset.release === "sure");
  });
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(document.body));
  // A browser opens few connections to one server: a hidden page must not hold one.
  document.addEventListener("visibilitychange", () => (document.hidden ? unfollow() : follow()));
  rememberOperator();
  refresh();
  toEnd();
  follow();
}

// --- having something done ---

// Shown at once, and sent.
function send() {
  const text = promptField.value;
  if (!text.trim() || composer.ariaBusy === "true") return;
  if (unsent) {
    showProblem("Your last message is not sent yet: try that again first.");
    return;
  }
  closeMenus(document.body);
  document.getElementById("welcome")?.remove();
  const body = { ...which(), operator: isOperator() ? operatorName() : null, prompt: text };
  unsent = { text, body, key: newKey(), bubble: echo(text) };
  promptField.value = "";
  messages.append(unsent.bubble);
  refresh();
  toEnd();
  deliver();
}

// Always under the key that it got first, so it is stored once, whatever became of it before.
async function deliver() {
  const { text, body, key, bubble } = unsent;
  bubble.classList.remove("failed");
  setBusy(true);
  const stored = await done("", body, key);
  setBusy(false);
  promptField.focus();
  if (stored === null) {
    bubble.classList.add("failed"); // it may have arrived after all: the same is sent again, or nothing
    watch();
    return;
  }
  unsent = null;
  if (!stored) {
    bubble.remove(); // refused: it can be changed
    promptField.value = [text, promptField.value].filter(Boolean).join("\n");
    refresh();
  } else {
    if (document.getElementById(`message-${stored.message_id}`)) bubble.remove();
    else bubble.id = `message-${stored.message_id}`;
    begin();
  }
}

// What hangs is given up and done anew; a prompt has its key, and what is followed is followed from where it is.
function tryAgain() {
  for (const attempt of attempts) attempt.abort();
  unfollow();
  follow();
  watch();
  promptField.focus();
}

// Says so once what is waited for does not come; whatever comes sets the clock anew.
function watch() {
  clearTimeout(slowness);
  document.getElementById("slow").hidden = true;
  if (!attempts.size && !messages.querySelector("[data-turn], .echo:not(.failed)")) return;
  slowness = setTimeout(() => (document.getElementById("slow").hidden = false), SLOW_MS);
}

function act(what, fields, key) {
  return done(`/${what}`, { ...which(), ...fields }, key);
}

// Not every browser opens what hides the goal of a link.
function openCited(link) {
  const goal = link && document.getElementById(link.hash.slice(1));
  if (goal) goal.closest("details").open = true;
}

function showQuoted(source) {
  const excerpt = source.open && source.querySelector(".excerpt");
  const quoted = excerpt?.querySelector("mark");
  if (quoted) excerpt.scrollTop = quoted.offsetTop - excerpt.offsetTop - excerpt.clientHeight / 3;
}

function actOnMessage(button) {
  const message_id = button?.closest("[data-message]")?.dataset.message;
  if (!message_id) return;
  if ("retry" in button.dataset) {
    act("retry", { message_id }, newKey());
    promptField.focus();
  } else {
    const rating = button.ariaPressed === "true" ? null : button.dataset.rate;
    act("rate", { message_id, rating });
  }
}

async function takeOver(name) {
  const operator = name.trim();
  if (!operator || !(await act("takeover", { operator }))) return;
  if (operatorField) {
    localStorage.setItem("operator", operator);
    operatorField.value = operator;
  }
  speakAs("operator");
  begin();
  promptField.focus();
}

// What another operator has is not given back by a slip of the hand: the page asks first, and the server as well.
async function release(isSure) {
  const operator = operatorName() || null;
  if (!isSure && inControl() !== operator) {
    document.getElementById("release-dialog").showPopover();
    return;
  }
  await act("release", { operator, force: isSure });
  promptField.focus();
}

// What came of it; false if it was refused, null if that is unknown. If it is, the request is sent again: a prompt has a key, so it
// is stored once, and a request without a key may be repeated.
async function done(path, body, key) {
  for (let tried = 1; tried <= TRIES; tried++) {
    const response = await post(path, body, key).catch(() => null);
    if (response && (response.status < 500 || tried === TRIES)) {
      showProblem("");
      if (response.ok) return response.json().catch(() => ({}));
      await showRefusal(response);
      return false;
    }
    if (tried === TRIES) break;
    showProblem("The server does not answer. Trying again…");
    await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** tried));
  }
  showProblem("The server cannot be reached. Your message is still here; try again in a moment.");
  return null;
}

async function post(path, body, key) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": composer.dataset.csrf };
  if (key) headers["Idempotency-Key"] = key;
  const attempt = new AbortController();
  const patience = setTimeout(() => attempt.abort(), PATIENCE_MS);
  attempts.add(attempt);
  if (attempts.size === 1) watch();
  try {
    const { signal } = attempt;
    return await fetch(`${root}/web/chat${path}`, { method: "POST", headers, body: JSON.stringify(body), signal });
  } finally {
    clearTimeout(patience);
    attempts.delete(attempt);
    watch();
  }
}

async function showRefusal(response) {
  const problem = await response.json().catch(() => ({}));
  const fields = (problem.errors ?? []).map((error) => `${error.field}: ${error.message}`).join(" ");
  const link = response.status === 401 ? ["Sign in", `${root}/login`, "_blank"] : null;
  showProblem(fields || problem.detail || `The server answered ${response.status}.`, link);
}

function showProblem(text, link) {
  const problem = document.getElementById("problem");
  problem.replaceChildren(text);
  problem.hidden = !text;
  if (!link) return;
  const anchor = document.createElement("a");
  [anchor.textContent, anchor.href, anchor.target] = link;
  problem.append(" ", anchor);
}

function newKey() {
  // Over plain http there is no randomUUID.
  return crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16)).join("-");
}

// --- following what happens ---

// Something was done here: the address leads back to it, and there is something to follow.
function begin() {
  const { chatbot_id: chatbot, conversation_id: conversation } = which();
  history.replaceState(null, "", `${root}/?${new URLSearchParams({ chatbot, conversation })}`);
  isBegun = true;
  follow();
}

function follow(waitMs = 1000) {
  if (source || !isBegun || document.hidden) return;
  const query = new URLSearchParams({
    chatbot: composer.dataset.chatbot,
    conversation: composer.dataset.conversation,
    after: place,
  });
  source = new EventSource(`${root}/web/chat/events?${query}`);
  source.addEventListener("open", () => (waitMs = 1000));
  source.addEventListener("change", (event) => take(event, applyChange));
  source.addEventListener("delta", (event) => take(event, applyDelta));
  source.addEventListener("block", (event) => take(event, applyBlock));
  source.addEventListener("gone", (event) => {
    unfollow();
    showProblem(JSON.parse(event.data).detail, ["Reload the page", location.href, ""]);
  });
  source.addEventListener("error", () => {
    // Most breaks the browser mends itself, with Last-Event-ID; what a proxy answered in our place, it does not.
    if (source?.readyState !== EventSource.CLOSED) return;
    unfollow();
    setTimeout(() => follow(Math.min(waitMs * 2, MOST_WAIT_MS)), waitMs);
  });
}

function unfollow() {
  source?.close();
  source = null;
}

function take(event, apply) {
  const follows = isAtEnd();
  apply(JSON.parse(event.data));
  place = event.lastEventId;
  refresh();
  watch();
  if (follows) toEnd();
}

function applyChange({ messages: changed, control: html, is_stale }) {
  if (is_stale) location.reload();
  for (const message of changed) put(message);
  if (html !== null) putControl(html);
}

// In its place, or in that of what was shown of it before.
function put({ id, seq, html }) {
  if (seq <= Number(messages.dataset.first)) return; // older than the page goes back
  const fresh = fragment(html).firstElementChild;
  const shown = document.getElementById(`message-${id}`);
  if (shown?.dataset.seq) {
    update(shown, fresh);
    return;
  }
  shown?.remove(); // it was being written, or sent
  if (unsent && unsent.text === fresh.querySelector(".content.plain")?.textContent) unsent.bubble.remove(); // before the answer to it
  const next = [...messages.children].find((each) => !each.dataset.seq || Number(each.dataset.seq) > seq);
  messages.insertBefore(fresh, next ?? null);
}

// Leaves alone what did not change, so that nothing is read out again, closed or loses the focus without need.
function update(shown, fresh) {
  for (const { name } of [...shown.attributes]) if (!fresh.hasAttribute(name)) shown.removeAttribute(name);
  for (const { name, value } of fresh.attributes) shown.setAttribute(name, value);
  const focused = shown.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  let old = shown.firstElementChild;
  for (const part of [...fresh.children]) {
    if (old?.isEqualNode(part)) old = old.nextElementSibling;
    else shown.insertBefore(part, old);
  }
  while (old) {
    const next = old.nextElementSibling;
    old.remove();
    old = next;
  }
  if (focused && !shown.contains(document.activeElement)) shown.querySelector(`[aria-label="${focused}"]`)?.focus();
}

function applyDelta({ message_id, offset, text }) {
  let bubble = document.getElementById(`message-${message_id}`);
  if (bubble?.dataset.seq) return; // it is stored already
  if (!bubble) {
    bubble = writing();
    bubble.id = `message-${message_id}`;
    messages.append(bubble);
  }
  const content = bubble.querySelector(".content");
  if (offset === 0) content.replaceChildren();
  content.classList.remove("typing");
  if (content.lastChild?.nodeType === Node.TEXT_NODE) content.lastChild.appendData(text);
  else content.append(text);
}

// What is complete of a reply in the making, as it will be: it takes the place of its plain text.
function applyBlock({ message_id, start, end, html }) {
  const bubble = document.getElementById(`message-${message_id}`);
  const content = bubble?.querySelector(".content");
  const tail = content?.lastChild;
  if (!bubble?.matches(".writing") || tail?.nodeType !== Node.TEXT_NODE || Number(content.dataset.end ?? 0) !== start) return;
  content.dataset.end = end;
  tail.data = [...tail.data].slice(end - start).join("");
  tail.before(fragment(html));
  content.classList.replace("plain", "markdown");
}

function putControl(html) {
  const hadFocus = control.contains(document.activeElement);
  const was = inControl();
  control.replaceChildren(fragment(html));
  const operator = inControl();
  if (operator !== was) speakAs(operator && operator === operatorName() ? "operator" : "visitor");
  rememberOperator();
  if (hadFocus) promptField.focus();
}

// --- the page ---

function refresh() {
  const isAnswering = Boolean(messages.querySelector("[data-turn]"));
  document.getElementById("stop").hidden = !isAnswering;
  if (!isAnswering) for (const each of messages.querySelectorAll(".writing")) each.remove(); // nothing of it was stored
  const expected = messages.querySelector(".writing:not([id])");
  if (!messages.querySelector('[data-turn="running"]') || messages.querySelector(".writing[id]")) expected?.remove();
  else if (!expected) messages.append(writing());
  const retried = [...messages.querySelectorAll(".message:has([data-retry])")];
  const mayRetry = !isAnswering && !control.querySelector("[data-operator]"); // an operator's silence holds for retries too
  for (const each of retried) each.classList.toggle("newest", mayRetry && each === retried.at(-1));
  composer.classList.toggle("operator", isOperator());
  const shown = document.getElementById("speaker-shown");
  if (shown) shown.textContent = isOperator() ? operatorName() : speaker();
  fit();
  showCurl();
}

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

function writing() {
  return bubble("assistant writing", "Assistant", "content plain typing");
}

// What was just said, until it is stored.
function echo(text) {
  const said = isOperator() ? bubble("operator echo", "Operator", "content plain") : bubble("user echo", "User", "content plain");
  said.querySelector(".content").textContent = text;
  const again = document.createElement("button");
  again.type = "button";
  again.className = "retry";
  again.textContent = "Try again";
  again.addEventListener("click", deliver);
  const actions = document.createElement("div");
  actions.className = "actions";
  actions.append(again);
  said.append(actions);
  return said;
}

function bubble(role, who, look) {
  const made = document.createElement("article");
  made.className = `message ${role}`;
  made.ariaBusy = "true"; // screen readers wait for the whole of it
  const badge = document.createElement("span");
  badge.className = `badge ${role.split(" ")[0]}`;
  badge.textContent = who;
  const header = document.createElement("header");
  header.append(badge);
  const content = document.createElement("div");
  content.className = look;
  content.dir = "auto";
  made.append(header, content);
  return made;
}

function which() {
  return { chatbot_id: composer.dataset.chatbot, conversation_id: composer.dataset.conversation };
}

// Nobody speaks as a customer here: as a visitor, to try the chatbot out, or as an operator.
function isOperator() {
  return "customers" in composer.dataset || composer.elements.speaker?.value === "operator";
}

function operatorName() {
  return composer.dataset.handle ?? operatorField?.value.trim() ?? "";
}

function speaker() {
  return isOperator() ? `client:${operatorName()}` : composer.dataset.visitor;
}

function speakAs(kind) {
  if (composer.elements.speaker && !("customers" in composer.dataset)) composer.elements.speaker.value = kind;
  refresh();
}

function inControl() {
  return control.querySelector("[data-operator]")?.dataset.operator;
}

// The name that this browser's operator took over with before.
function rememberOperator() {
  const name = localStorage.getItem("operator") ?? "";
  const asked = document.getElementById("operator");
  if (asked && !asked.value) asked.value = name;
  if (operatorField && !operatorField.value) operatorField.value = name;
  if (operatorName() && inControl() === operatorName()) speakAs("operator");
}

function setBusy(isBusy) {
  composer.ariaBusy = String(isBusy);
  document.getElementById("send").disabled = isBusy;
}

function fit() {
  promptField.style.height = "auto";
  promptField.style.height = `${Math.min(promptField.scrollHeight, innerHeight * 0.4)}px`;
}

function isAtEnd() {
  return innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
}

function toEnd() {
  if (document.querySelector(".message")) scrollTo(0, document.documentElement.scrollHeight);
}

function closeMenus(clicked) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(clicked)) menu.open = false;
  }
}

// --- the same request as a command ---

function showCurl() {
  const { chatbot_id, conversation_id } = which();
  const prompt = promptField.value || "How do I push a document?";
  const json = JSON.stringify({ conversation_id, user_id: speaker(), prompt }).replaceAll("'", "'\\''");
  document.getElementById("curl").textContent = [
    `curl -N '${location.origin}/chatbots/${chatbot_id}/conversations?embedding=false'`,
    `-H "Authorization: Bearer $GIGACHAT_API_KEY"`,
    `-H 'Content-Type: application/json'`,
    `-H 'Accept: text/event-stream'`,
    `-d '${json}'`,
  ].join(" \\\n  ");
}
