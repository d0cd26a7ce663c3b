// The inbox's list: rows change where they stand at once, and move, come and go when no hand is on it.
"use strict";

let held = null; // an order of the list that waits until no hand is on it
let isPointed = false;

// Rows are changed where they stand at once; they move, come and go when no hand is on the list.
function takeRows({ order, changed }) {
  const fresh = new Map(held?.fresh);
  for (const { key, html } of changed) {
    const row = fragment(html).firstElementChild;
    const shown = rowOf(key);
    if (shown) replaceRow(shown, row);
    else fresh.set(key, row);
  }
  held = { order, fresh };
  settle();
}

function rowOf(key) {
  return [...rows.children].find((row) => row.dataset.key === key);
}

function replaceRow(shown, row) {
  if (held?.fresh.has(row.dataset.key)) held.fresh.delete(row.dataset.key);
  const isFocused = shown.contains(document.activeElement);
  localise(row);
  if (shown.outerHTML === row.outerHTML) return;
  shown.replaceWith(row);
  if (isFocused) row.firstElementChild.focus();
  markOpen();
}

function settle(isWanted = false) {
  if (!held) return;
  const shown = [...rows.children].map((row) => row.dataset.key);
  const isOnlyLonger = shown.every((key, at) => held.order[at] === key);
  const isUnderHand = isPointed || list.contains(document.activeElement);
  const isSame = isOnlyLonger && shown.length === held.order.length;
  if (!isWanted && isUnderHand && !isOnlyLonger) {
    const come = held.order.filter((key) => !shown.includes(key)).length;
    for (const row of rows.children) row.classList.toggle("gone", !held.order.includes(row.dataset.key));
    freshRows.textContent = come ? `${come} new: show` : "Show the new order";
    if (freshRows.hidden) announce(come ? `${come} new in the list.` : "The list has a new order.");
    freshRows.hidden = false;
    return;
  }
  if (!isSame) arrange();
  held = null;
  freshRows.hidden = true;
  byId("nothing").hidden = rows.children.length > 0;
  markOpen();
}

function arrange() {
  const focused = document.activeElement?.closest?.("#rows > li")?.dataset.key;
  const known = new Map([...rows.children].map((row) => [row.dataset.key, row]));
  const wanted = held.order.map((key) => known.get(key) ?? held.fresh.get(key)).filter(Boolean);
  for (const row of wanted) {
    row.classList.remove("gone");
    if (!row.className.trim()) row.removeAttribute("class");
    localise(row);
  }
  const scrolled = rows.scrollTop;
  rows.replaceChildren(...wanted);
  rows.scrollTop = scrolled;
  if (focused) (rowOf(focused) ?? rows.firstElementChild)?.firstElementChild.focus();
}

function takeCounts({ waits, ...counts }) {
  for (const [view, count] of Object.entries(counts)) {
    const shown = document.querySelector(`[data-count="${view}"]`);
    shown.textContent = count;
    shown.hidden = count === "0";
  }
  waitingCount = counts.waiting;
  tellTitle();
  tellOf(waits);
}
