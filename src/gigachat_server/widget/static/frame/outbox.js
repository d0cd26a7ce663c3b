// Prompts on their way: shown at once, sent one after the other, each under a key of its own, so that it is stored once whatever
// becomes of an answer. What waits is in the page's storage: a reload, or a tunnel, loses none of it.
"use strict";

const MOST_WAITING = 20;
const LEAST_WAIT_MS = 500;
const MOST_WAIT_MS = 30_000;
const TOO_OLD_MS = 24 * 3600 * 1000;

const outbox = [];
let isSending = false;
let wakeSender = null; // ends its wait for another try

function post(prompt) {
  if (outbox.length >= MOST_WAITING) return notice(text.error_full);
  const entry = { key: newKey(), text: prompt, at: Date.now(), conversation: conversation.id, context };
  outbox.push(entry);
  keep({ put: [entry] });
  showPending(entry);
  sendAll();
}

// From a page before this one.
function takeUp(entries) {
  for (const entry of entries) {
    if (outbox.some((each) => each.key === entry.key)) continue;
    outbox.push(entry);
    if (entry.conversation === conversation.id) showPending(entry);
  }
  sendAll();
}

async function sendAll() {
  if (isSending) return;
  isSending = true;
  let waitMs = LEAST_WAIT_MS;
  let entry;
  while ((entry = outbox.find((each) => !each.isRefused))) {
    if (Date.now() - entry.at > TOO_OLD_MS) {
      refuse(entry, text.not_sent);
      continue;
    }
    try {
      const stored = await send(entry);
      if (outbox.includes(entry)) arrived(entry, stored); // else it was forgotten meanwhile, with who said it
      waitMs = LEAST_WAIT_MS;
      notice("");
    } catch (error) {
      if (!outbox.includes(entry)) continue; // forgotten meanwhile
      if (error instanceof Refusal && !error.mayPass) {
        refuse(entry, wordsFor(error));
        continue;
      }
      notice(error.status === 429 || error.code === "conversation_busy" ? wordsFor(error) : text.offline);
      await pause(Math.max(waitMs * (0.75 + Math.random() / 2), error.waitS * 1000 || 0));
      waitMs = Math.min(waitMs * 2, MOST_WAIT_MS);
    }
  }
  isSending = false;
}

function send(entry) {
  const body = { prompt: entry.text };
  if (entry.conversation) body.conversation_id = entry.conversation;
  if (entry.context) body.context = entry.context;
  return call("prompt", { method: "POST", body, key: entry.key });
}

// It is stored. Those behind it that began the same conversation follow it there.
function arrived(entry, { conversation_id: id, message_id: message }) {
  drop(entry);
  const began = entry.conversation === null;
  for (const each of outbox) {
    if (began && each.conversation === null) {
      each.conversation = id;
      keep({ put: [each] });
    }
  }
  if (began && conversation.id === null) begin(id);
  settlePending(entry, message);
}

function drop(entry) {
  const place = outbox.indexOf(entry);
  if (place >= 0) outbox.splice(place, 1);
  keep({ drop: [entry.key] });
}

function refuse(entry, why) {
  entry.isRefused = true;
  keep({ put: [entry] });
  showRefused(entry, why);
}

function again(entry) {
  entry.isRefused = false;
  entry.at = Date.now();
  keep({ put: [entry] });
  showPending(entry);
  sendAll();
}

function pause(ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    wakeSender = () => (clearTimeout(timer), resolve());
  });
}

addEventListener("online", () => wakeSender?.());

function complain(error) {
  notice(error instanceof Refusal ? wordsFor(error) : text.offline);
}

function wordsFor(error) {
  const words = {
    rate_limited: text.error_limited.replace("{n}", error.waitS || 60),
    budget_spent: text.error_budget,
    conversation_busy: text.error_busy,
    no_user_token: text.error_session,
  };
  return words[error.code] ?? (error.status === 401 || error.status === 403 ? text.error_session : text.error);
}
