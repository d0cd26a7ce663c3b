// The inbox: keeps the list, the thread and the side panel as the server has them, and has things done by hand and by key. What
// changes comes from one stream, as HTML of the server's own templates; text from anybody else goes through textContent.
// This file has what is open and the stream; the others of the name beside it share its scope, and the last one starts the page.
"use strict";

const PATIENCE_MS = 20_000;
const RETRY_MS = 1000;
const MOST_WAIT_MS = 30_000;
const MINUTE = 60_000;

const root = document.body.dataset.root;
const desk = document.getElementById("desk");
const rows = document.getElementById("rows");
const list = document.getElementById("list");
const freshRows = document.getElementById("fresh-rows");
const me = desk.dataset.me;
const byId = (id) => document.getElementById(id);

let source = null; // of events
let place = byId("thread").dataset.last ?? "0"; // behind what the thread shows
let waitMs = RETRY_MS;

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
