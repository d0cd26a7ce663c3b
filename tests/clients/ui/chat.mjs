// What a page does with `ai` and `@ai-sdk/react`, unmodified, of version 5, 6 or 7: `node chat.mjs URL KEY CHATBOT`.
// It writes a line of JSON to say what has to happen at the server, and waits until a line says that it has.
import assert from "node:assert/strict";
import { once } from "node:events";
import readline from "node:readline";
import { JSDOM } from "jsdom";

const [base, key, chatbot] = process.argv.slice(2);
const dom = new JSDOM("<!doctype html><div id='root'></div>", { url: base });
Object.assign(globalThis, { window: dom.window, document: dom.window.document });
globalThis.navigator ??= dom.window.navigator; // node has one of its own from 21 on
const { createElement: h } = await import("react");
const { createRoot } = await import("react-dom/client");
const { DefaultChatTransport, validateUIMessages } = await import("ai");
const { Chat, useChat } = await import("@ai-sdk/react");

const headers = { Authorization: `Bearer ${key}` };
const api = `${base}${chatbot}/ui`;
const transport = () => new DefaultChatTransport({ api, headers });
const lines = readline.createInterface({ input: process.stdin });

async function at(server) {
  process.stdout.write(JSON.stringify(server) + "\n");
  await once(lines, "line");
}

async function until(what, holds) {
  const giveUp = Date.now() + 20_000;
  while (!holds()) {
    if (Date.now() > giveUp) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function history(id) {
  const answer = await fetch(`${api}/${encodeURIComponent(id)}/messages`, { headers });
  assert.equal(answer.status, 200);
  const messages = await answer.json();
  if (messages.length > 0) await validateUIMessages({ messages });
  return messages;
}

const said = (chat) => (chat.messages.at(-1)?.parts ?? []).map((part) => (part.type === "text" ? part.text : "")).join("");
const plain = (messages) =>
  JSON.parse(JSON.stringify(messages.map(({ id, role, parts, metadata }) => ({ id, role, parts, ...(role === "assistant" && { metadata }) }))));

async function equalsTheStore(id, ...chats) {
  const stored = plain(await history(id));
  for (const chat of chats) {
    assert.equal(chat.status, "ready");
    assert.equal(chat.error, undefined);
    assert.deepEqual(plain(chat.messages), stored);
  }
}

// --- ask and stream, with a second browser that comes in the middle; the id needs escaping ---

const id = "a/b ü";
const first = new Chat({ id, transport: transport() });
const asking = first.sendMessage({ text: "join" });
await until("the first words", () => said(first) === "Hel");
assert.equal(first.status, "streaming");
const second = new Chat({ id, transport: transport(), messages: await history(id) });
assert.deepEqual(second.messages.map((message) => message.role), ["user"]);
const joining = second.resumeStream();
await until("the first words, joined", () => said(second) === "Hel");
await at({ resume: "join" });
await Promise.all([asking, joining]);
assert.equal(said(first), "Hello.");
await equalsTheStore(id, first, second);
await new Chat({ id, transport: transport(), messages: await history(id) }).resumeStream(); // nothing to join: 204

// --- a new reply to the same prompt ---

const before = first.messages.at(-1).id;
await first.regenerate();
assert.notEqual(first.messages.at(-1).id, before);
assert.equal(first.messages.length, 2);
await equalsTheStore(id, first);

// --- a Stop button: the stream is left, and the server told ---

const stopped = new Chat({ id: "stopped", transport: transport() });
const stopping = stopped.sendMessage({ text: "stop" });
await until("half of it", () => said(stopped) === "half");
await stopped.stop();
await stopping;
assert.equal(stopped.status, "ready");
const stop = await fetch(`${base}${chatbot}/conversations/stopped/stop`, { method: "POST", headers });
assert.equal(stop.status, 200);
const kept = (await history("stopped")).at(-1);
assert.equal(kept.metadata.status, "stopped");
assert.equal(kept.id, stopped.messages.at(-1).id);
assert.equal(kept.parts.at(-1).text, said(stopped));

// --- a failure, told in words, and asking again ---

let problem;
const failing = new Chat({
  id: "failing",
  transport: transport(),
  onData: (part) => {
    if (part.type === "data-problem") problem = part.data;
  },
});
await failing.sendMessage({ text: "fail" });
assert.equal(failing.status, "error");
assert.equal(failing.error.message, problem.title);
assert.equal(problem.code, "upstream_unreachable");
assert.deepEqual(failing.messages.map((message) => message.role), ["user"]);
await failing.regenerate();
assert.equal(said(failing), "Better now.");
await equalsTheStore("failing", failing);

const refused = new Chat({ id: "refused", transport: new DefaultChatTransport({ api }) });
await refused.sendMessage({ text: "no key" });
assert.equal(JSON.parse(refused.error.message).code, "unauthenticated");

// --- an operator takes over ---

let turn;
const taken = new Chat({
  id: "taken",
  transport: transport(),
  onData: (part) => {
    if (part.type === "data-gigachat") turn = part.data.turn;
  },
});
await taken.sendMessage({ text: "Hello" });
await at({ takeOver: "taken" });
await taken.sendMessage({ text: "Anyone?" });
assert.equal(turn, "intercepted");
assert.equal(taken.status, "ready");
assert.deepEqual(taken.messages.map((message) => message.role), ["user", "assistant", "user"], "no empty message appears");
await at({ operatorSays: "taken" });
const told = (await history("taken")).at(-1);
assert.deepEqual([told.role, told.metadata.role, told.parts[0].text], ["assistant", "operator", "I am here."]);

// --- the hook, in a page: with sources, and resumed on mount ---

function Page({ chatId, messages, seen, resume }) {
  const chat = useChat({ id: chatId, transport: transport(), messages, resume });
  seen.chat = chat;
  const texts = chat.messages.map((message) => message.parts.map((part) => (part.type === "text" ? part.text : "")).join(""));
  return h("ol", null, texts.map((text, place) => h("li", { key: place }, text)));
}

function mount(properties) {
  const seen = {};
  const place = document.createElement("div");
  const root = createRoot(place);
  root.render(h(Page, { ...properties, seen }));
  return { seen, unmount: () => root.unmount(), items: () => [...place.querySelectorAll("li")].map((item) => item.textContent) };
}

const page = mount({ chatId: "hook" });
await until("the page", () => page.seen.chat);
page.seen.chat.sendMessage({ text: "hook" });
await until("the first words", () => page.items().at(-1) === "Hel");
const other = mount({ chatId: "hook", messages: await history("hook"), resume: true });
await until("the first words, resumed", () => other.items().at(-1) === "Hel");
await at({ resume: "hook" });
for (const each of [page, other]) await until("the reply", () => each.seen.chat.status === "ready" && each.items().at(-1) === "Hello.");
await equalsTheStore("hook", page.seen.chat, other.seen.chat);
page.seen.chat.sendMessage({ text: "When does the museum open?" });
await until("the cited reply", () => page.seen.chat.status === "ready" && page.items().length === 4);
const kinds = page.seen.chat.messages.at(-1).parts.map((part) => part.type);
assert.deepEqual(kinds, ["step-start", "text", "source-url", "data-citations"]);
await equalsTheStore("hook", page.seen.chat);
page.unmount();
other.unmount();

lines.close();
process.stdout.write(JSON.stringify({ done: true }) + "\n");
process.exit(0);
