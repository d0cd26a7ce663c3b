// What all settings pages share: unsaved changes, switches that open fields. Without it the forms still work.
"use strict";

const BESIDES = new Set(["csrf", "version", "do", "query", "which", "limit"]); // what is no setting

for (const form of document.querySelectorAll("form[data-guard]")) guard(form);
for (const dialog of document.querySelectorAll("[data-open]")) {
  dialog.popover = "auto"; // without a script it stands in the page
  dialog.showPopover();
}
for (const field of document.querySelectorAll("[data-behind]")) keepBehind(field);
document.querySelector(".rail [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
document.querySelector('[aria-invalid="true"]')?.focus();
if (new URLSearchParams(location.search).has("done")) {
  const address = new URL(location.href);
  address.searchParams.delete("done"); // a reload does not say it again
  history.replaceState(null, "", address);
}

function guard(form) {
  const text = () => JSON.stringify([...new FormData(form)].filter(([name]) => !BESIDES.has(name)));
  const isRefused =
    "draft" in form.dataset || form.querySelector('[aria-invalid="true"]') !== null || document.querySelector(".pane > .problem") !== null;
  const saved = isRefused ? null : text();
  const state = form.querySelector(".save .state");
  const discard = form.querySelector("[data-discard]");
  let isLeaving = false;
  const look = () => {
    const isDirty = text() !== saved;
    form.classList.toggle("is-dirty", isDirty);
    if (state) state.textContent = isDirty ? state.dataset.dirty : state.dataset.clean;
    if (discard) discard.hidden = !isDirty;
    return isDirty;
  };
  form.addEventListener("input", look);
  form.addEventListener("change", look);
  form.addEventListener("reset", (event) => {
    if (isRefused) { // what is stored is no longer on the page
      event.preventDefault();
      isLeaving = true;
      location.assign(location.pathname);
      return;
    }
    setTimeout(() => {
      look();
      form.dispatchEvent(new Event("input", { bubbles: true }));
    });
  });
  form.addEventListener("submit", () => (isLeaving = true));
  addEventListener("beforeunload", (event) => {
    if (!isLeaving && look()) event.preventDefault();
  });
  addEventListener("pageshow", () => (isLeaving = false));
  look();
}

function keepBehind(field) {
  const gate = document.getElementById(field.dataset.behind);
  const look = () => (field.inert = !gate.checked);
  gate.addEventListener("change", look);
  gate.form.addEventListener("reset", () => setTimeout(look));
  look();
}
