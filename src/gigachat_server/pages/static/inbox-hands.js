// Hands on the inbox: clicks, forms and keys. Loaded last, it starts the page.
"use strict";

function onClick(event) {
  const target = event.target.closest("button, a, li[role=option]");
  if (!target) return;
  if (target.matches("li[role=option]")) return take(target);
  if (target.dataset.do) return actions[target.dataset.do]?.(target);
  if (target.dataset.mode) return setMode(target.dataset.mode);
  if (target.dataset.until) return snooze(target.dataset.until);
  if ("assign" in target.dataset) {
    byId("assign").hidePopover();
    return act("change", { assigned_to: target.dataset.assign || null });
  }
  if (target.matches("a.cited")) byId(target.hash.slice(1))?.closest(".sources").querySelectorAll("details").forEach((each) => (each.open ||= each.contains(byId(target.hash.slice(1)))));
  if (target.matches("a.cited")) target.closest(".say, .proposal").querySelector(".sources").open = true;
  const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
  if (isPlain && target.matches("#rows a, .others a")) {
    event.preventDefault();
    load(target.href);
  }
}

function onSubmit(event) {
  const { id } = event.target;
  if (!["composer", "snooze-form", "fix-form"].includes(id)) return;
  event.preventDefault();
  if (id === "composer") sendText();
  else if (id === "fix-form") fix();
  else snooze(new Date(byId("snooze-at").value).toISOString());
}

function onInput(event) {
  if (event.target.id === "text") {
    keepDraft();
    fit(event.target);
    offer();
    tellTyping();
  } else if (event.target.matches(".proposal textarea")) fit(event.target);
}

function onChange(event) {
  if (event.target.id === "available") post("presence", { status: event.target.checked ? "available" : "away" }).catch(() => null);
}

function onKey(event) {
  if (event.target.id === "text" && onComposerKey(event)) return event.preventDefault();
  const isField = event.target.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (event.key === "Escape" && isField) return event.target.blur();
  if (isField || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("[popover]:popover-open") && event.key !== "?") return;
  if (localStorage.getItem("keys") === "off") return;
  const done = keys[event.key];
  if (!done) return;
  event.preventDefault();
  done();
}

function onComposerKey(event) {
  const isOffered = !byId("replies").hidden;
  if (event.isComposing) return false;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) sendText();
  else if (!isOffered) return false;
  else if (event.key === "ArrowDown") choose(1);
  else if (event.key === "ArrowUp") choose(-1);
  else if (event.key === "Escape") closeOffer();
  else if ((event.key === "Enter" || event.key === "Tab") && byId(`offer-${chosen}`)) take(byId(`offer-${chosen}`));
  else return false;
  event.stopPropagation();
  return true;
}

const press = (name) => byId("head")?.querySelector(`[data-do="${name}"]`)?.click();
const keys = {
  j: () => step(1),
  k: () => step(-1),
  Enter: () => (document.activeElement.closest("a, button, summary") ?? rowOf(opened())?.firstElementChild ?? rows.querySelector("a"))?.click(),
  r: () => setMode("reply"),
  n: () => setMode("note"),
  t: () => press("takeover") ?? press("takeover-from") ?? press("release"),
  e: () => press("close") ?? press("reopen"),
  s: () => press("snooze"),
  a: () => press("assign"),
  f: () => opened() && openFix(),
  "/": () => byId("q").focus(),
  "?": () => byId("help").togglePopover(),
};

// The focus goes through the list; the one that is open is where it begins.
function step(by) {
  const all = [...rows.children];
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const from = at >= 0 ? at : all.findIndex((row) => row.dataset.key === opened());
  const next = all[Math.min(Math.max(from + by, 0), all.length - 1)];
  next?.firstElementChild.focus();
}

start();
