// Copy buttons, and a reload that does not send the form a second time.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button));
}

if (document.querySelector(".fresh")) history.replaceState(null, "", `${document.body.dataset.root}/keys`);

async function copy(button) {
  const text = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(text); // over plain http there is no clipboard: Ctrl+C does the rest
    button.textContent = "Press Ctrl+C";
  }
}
