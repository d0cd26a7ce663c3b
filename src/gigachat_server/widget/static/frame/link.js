// The two ends that the chat lies between: the page that embeds it, over a port which that page's loader gave us, and our
// server, as the end user whose session or token this is. Without a page around it, the chat keeps for itself what a loader would.
"use strict";

const given = JSON.parse(document.getElementById("given").textContent);
const text = given.strings;
const isFramed = parent !== self;
const PATIENCE_MS = 20_000;

let port = null;
let kept = {}; // what the page has in its storage for us: token, subject, conversation, outbox
let isNamed = false; // the page says who its user is
let context = null; // what the page says of what its user looks at
let userToken = "";
let opening = null; // a session that is being opened
const asked = new Map(); // of the page, for a token

// --- the page around us ---

function meet(onStart, onMessage) {
  if (!isFramed) {
    onStart({ stored: ownStorage(), isOpen: true, given: {} });
    return;
  }
  addEventListener("message", ({ source, origin, data, ports }) => {
    if (port || source !== parent || data?.type !== "gigachat:start" || !ports[0] || !isListed(origin)) return;
    port = ports[0];
    port.onmessage = ({ data: message }) => hear(message, onMessage);
    onStart(data.start);
  });
  parent.postMessage({ type: "gigachat:hello" }, "*"); // it says nothing: who answers is looked at then
}

// The browser has kept other pages out by our own policy already; this is the same list once more.
function isListed(origin) {
  const { hostname, protocol } = URL.canParse(origin) ? new URL(origin) : {};
  if (!hostname || !/^https?:$/.test(protocol)) return false;
  return given.hostnames.some((each) => (each.startsWith("*.") ? hostname.endsWith(each.slice(1)) : hostname === each));
}

function hear(message, onMessage) {
  if (message?.type === "token") {
    asked.get(message.ask)?.(message.token);
    asked.delete(message.ask);
  } else if (message?.type) onMessage(message);
}

function tell(message) {
  if (port) port.postMessage(message);
  else if (message.type === "keep") keepOwn(message);
}

function emit(name, detail) {
  tell({ type: "event", name, detail });
}

// What the page is to keep for the next time, and for other tabs.
function keep({ set = {}, put = [], drop = [] }) {
  Object.assign(kept, set);
  tell({ type: "keep", set, put, drop });
}

function ownStorage() {
  try {
    return JSON.parse(localStorage.getItem(`gigachat:${given.chatbot}`)) ?? {};
  } catch {
    return kept;
  }
}

function keepOwn({ set, put, drop }) {
  const old = ownStorage();
  const gone = new Set([...drop, ...put.map((each) => each.key)]);
  const outbox = [...(old.outbox ?? []).filter((each) => !gone.has(each.key)), ...put];
  try {
    localStorage.setItem(`gigachat:${given.chatbot}`, JSON.stringify({ ...old, ...set, outbox }));
  } catch {} // this page remembers
}

// --- our server ---

// What lets us in: the user's token of the page, or an anonymous session, opened when it is first needed.
async function bearer() {
  if (isNamed) return userToken || askForToken();
  if (kept.token) return kept.token;
  opening ??= openSession().finally(() => (opening = null));
  return opening;
}

async function askForToken() {
  const ask = newKey();
  const token = await new Promise((resolve) => {
    asked.set(ask, resolve);
    tell({ type: "token", ask });
    setTimeout(resolve, PATIENCE_MS, "");
  });
  if (!token) throw new Refusal(401, { code: "no_user_token", detail: text.error_session });
  const subject = subjectOf(token);
  if (kept.subject !== undefined && kept.subject !== subject) forgetAll();
  userToken = token;
  // What was said before signing in goes along.
  if (kept.token) {
    await request("session", { method: "POST", token, body: { claim: kept.token } }).catch(() => null);
    keep({ set: { token: null } });
  }
  keep({ set: { subject } });
  return token;
}

// Whose token it is; only to tell two users apart, so it need not be verified.
function subjectOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return String(JSON.parse(atob(payload)).sub);
  } catch {
    return "";
  }
}

async function openSession() {
  const opened = await request("session", { method: "POST", token: given.key, body: {} });
  keep({ set: { token: opened.token } });
  return opened.token;
}

class Refusal extends Error {
  constructor(status, problem, waitS = 0) {
    super(problem.detail);
    this.status = status;
    this.code = problem.code ?? "";
    this.waitS = waitS;
  }

  // Whether the same may be let in later.
  get mayPass() {
    return this.status >= 500 || this.status === 429 || this.code === "conversation_busy" || this.code === "idempotency_in_progress";
  }
}

async function call(path, options = {}) {
  for (let isSecond = false; ; isSecond = true) {
    const token = await bearer();
    try {
      return await request(path, { ...options, token });
    } catch (error) {
      if (error.status !== 401 || isSecond) throw error;
      // Expired, or taken back: a user's page has another; a session that ended took what was said in it along.
      userToken = "";
      if (!isNamed) forgetAll();
    }
  }
}

async function request(path, { method = "GET", token, body, key, headers = {}, signal, isStream = false }) {
  const sent = { Authorization: `Bearer ${token}`, ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (key) sent["Idempotency-Key"] = key;
  const url = `${given.root}/widget/${given.chatbot}/${path}${path.includes("?") ? "&" : "?"}locale=${given.locale}`;
  const response = await fetch(url, {
    method,
    headers: sent,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ?? AbortSignal.timeout(PATIENCE_MS),
    credentials: "omit",
    cache: "no-store",
  });
  if (response.ok) return isStream ? response : response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Refusal(response.status, problem, Number(response.headers.get("Retry-After")) || 0);
}

function newKey() {
  // Over plain http there is no randomUUID.
  return crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16)).join("-");
}
