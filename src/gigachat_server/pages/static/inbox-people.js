// Who is at the inbox: who writes, what has been read, which operators are there.
"use strict";

const TYPING_MS = 3000;
const READ_MS = 400;
let there = []; // the operators who are
let readTo = 0; // what the server knows to be read of what is open
let reading = 0; // the timer of that mark
let writers = []; // besides who is here
let typedAt = 0;

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
