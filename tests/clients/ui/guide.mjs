// The pages of the guide to the AI SDK at work: bundled, with the variables that it names. The guide's own route is the server
// behind `/api/chat`, as in Next.js. The protocol with the test is that of chat.mjs.
import assert from "node:assert/strict";
import { once } from "node:events";
import readline from "node:readline";
import { JSDOM } from "jsdom";
import { createElement as h } from "react";
import { GET, POST } from "./app/api/chat/[[...path]]/route.ts";
import { Chat } from "./app/chat.tsx";
import { handler } from "./deep-chat.js";

const site = "https://app.example.com";
const dom = new JSDOM("<!doctype html><body></body>", { url: site });
Object.assign(globalThis, { window: dom.window, document: dom.window.document });
globalThis.navigator ??= dom.window.navigator;
const { createRoot } = await import("react-dom/client");

const toServers = globalThis.fetch;
globalThis.fetch = (address, options) => {
  if (!String(address).startsWith("/")) return toServers(address, options);
  const request = new Request(site + address, options);
  return (request.method === "GET" ? GET : POST)(request);
};

const lines = readline.createInterface({ input: process.stdin });
async function at(server) {
  process.stdout.write(JSON.stringify(server) + "\n");
  await once(lines, "line");
}

async function until(what, holds) {
  const giveUp = Date.now() + 20_000;
  while (!holds()) {
    if (Date.now() > giveUp) throw new Error(`never: ${what}\n${document.body.innerHTML}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const history = async (id) => (await fetch(`/api/chat/${encodeURIComponent(id)}/messages`)).json();

function show(element) {
  const place = document.body.appendChild(document.createElement("main"));
  const root = createRoot(place);
  root.render(element);
  return {
    texts: () => [...place.querySelectorAll("article")].map((each) => each.textContent),
    links: () => [...place.querySelectorAll("article a")].map((each) => each.href),
    button: () => place.querySelector("button"),
    say(text) {
      const input = place.querySelector("input");
      Object.getOwnPropertyDescriptor(window.HTMLInputElement.prototype, "value").set.call(input, text);
      input.dispatchEvent(new window.Event("input", { bubbles: true }));
      place.querySelector("form").dispatchEvent(new window.Event("submit", { bubbles: true, cancelable: true }));
    },
    close: () => (root.unmount(), place.remove()),
  };
}

// A reply with its source, and a reload in the middle of the next one.
const id = "a/b ü";
assert.deepEqual(await history(id), []);
let page = show(h(Chat, { id, messages: [] }));
await until("the page", () => page.button()?.textContent === "Send");
page.say("When does the museum open?");
await until("the reply", () => page.links().length === 1 && page.button().textContent === "Send");
assert.deepEqual(page.links(), ["https://example.com/hours"]);
page.say("join");
await until("the first words", () => page.texts().at(-1) === "Hel");
page.close();
page = show(h(Chat, { id, messages: await history(id) }));
await until("the first words after the reload", () => page.texts().length === 4 && page.texts().at(-1) === "Hel");
await at({ resume: "join" });
await until("the whole reply", () => page.texts().at(-1) === "Hello." && page.button().textContent === "Send");
assert.deepEqual(
  page.texts().map((text) => text.replace("https://example.com/hours", "")),
  (await history(id)).map((message) => message.parts.map((part) => part.text ?? "").join("")),
);

// The Stop button.
page.say("stop");
await until("half of it", () => page.texts().at(-1) === "half");
assert.equal(page.button().textContent, "Stop");
page.button().click();
await until("the end", () => page.button().textContent === "Send");
assert.equal(page.texts().at(-1), "half");
assert.equal((await history(id)).at(-1).metadata.status, "stopped");
page.close();
assert.equal((await fetch("/api/chat/x/anything")).status, 404);

// deep-chat's handler.
const given = [];
const signals = { onOpen: () => given.push("open"), onClose: () => given.push("close"), onResponse: (each) => given.push(each) };
await handler("deep")({ messages: [{ role: "user", text: "Hello" }] }, signals);
assert.deepEqual([given[0], given.at(-1), given.slice(1, -1).map((each) => each.text).join("")], ["open", "close", "re: Hello"]);
given.length = 0;
await handler("deep")({ messages: [{ role: "user", text: "fail" }] }, signals);
assert.ok(given.some((each) => each.error));

// assistant-ui, where it is installed.
const { assistant } = await import("./assistant-page.js");
await assistant?.({ show, until, history });

lines.close();
process.stdout.write(JSON.stringify({ done: true }) + "\n");
process.exit(0);
