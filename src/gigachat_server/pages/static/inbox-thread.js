// The inbox's thread: what is said, as it comes.
"use strict";

let shownHtml = {}; // of the parts of the thread, as the stream brought them

function takeChange({ items, spoke = [], removed, is_stale, head, proposals, person }, id) {
  place = id || place;
  if (is_stale) return load(location.href, false);
  const isBelow = isAtEnd();
  for (const item of items) put(item);
  for (const each of removed) byId(`message-${each}`)?.remove();
  swap("head", head);
  swap("proposals", proposals);
  swap("person", person);
  if (!byId("items").querySelector("[data-turn]")) for (const each of byId("items").querySelectorAll(".coming")) each.remove();
  showWriters(writers.filter((name) => !spoke.includes(name)));
  showMode();
  markRead();
  if (isBelow) toEnd();
}

function put({ id, seq, html }) {
  const items = byId("items");
  if (seq <= Number(byId("thread").dataset.first)) return; // older than the page goes back
  const made = fragment(html).firstElementChild;
  localise(made);
  const shown = byId(`message-${id}`);
  if (shown?.dataset.seq === made.dataset.seq) {
    for (const open of shown.querySelectorAll("details[open]")) {
      const same = [...made.querySelectorAll("details")].find((each) => each.id === open.id && each.className === open.className);
      if (same) same.open = true;
    }
    return shown.replaceWith(made);
  }
  shown?.remove(); // it was being written
  const next = [...items.children].find((each) => Number(each.dataset.seq ?? (each.matches(".coming") ? Infinity : 0)) > seq);
  items.insertBefore(made, next ?? null);
}

function swap(id, html) {
  if (html === undefined || shownHtml[id] === html) return;
  const isEdited = id === "proposals" && byId(id).querySelector("textarea:not([hidden])");
  const made = fragment(html);
  const isSameProposal = isEdited && made.querySelector(`[data-proposal="${isEdited.closest("[data-proposal]").dataset.proposal}"]`);
  if (isSameProposal) return; // somebody writes in it
  shownHtml[id] = html;
  const focused = byId(id).contains(document.activeElement) ? document.activeElement.dataset.do : null;
  byId(id).replaceChildren(made);
  localise(byId(id));
  if (focused) byId(id).querySelector(`[data-do="${focused}"]`)?.focus();
}

function takeDelta({ message_id, offset, text }) {
  const isBelow = isAtEnd();
  let bubble = byId(`message-${message_id}`);
  if (bubble?.dataset.seq) return; // it is stored already
  if (!bubble) {
    bubble = document.createElement("article");
    bubble.id = `message-${message_id}`;
    bubble.className = "say assistant coming";
    bubble.ariaBusy = "true";
    const content = document.createElement("div");
    content.className = "content plain";
    bubble.append(content);
    byId("items").append(bubble);
  }
  const content = bubble.firstElementChild;
  if (offset === 0) content.replaceChildren();
  content.append(text);
  if (isBelow) toEnd();
}

function isAtEnd() {
  const items = byId("items");
  return !items || items.scrollHeight - items.scrollTop - items.clientHeight < 80;
}

function toEnd() {
  const items = byId("items");
  if (items) items.scrollTop = items.scrollHeight;
}

function showQuoted(opened) {
  const excerpt = opened.open && opened.querySelector(":scope > .excerpt");
  const quoted = excerpt?.querySelector("mark");
  if (quoted) excerpt.scrollTop = quoted.offsetTop - excerpt.offsetTop - excerpt.clientHeight / 3;
}
