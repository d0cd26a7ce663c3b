// What several pages have: buttons that copy, and lists that lead somewhere once an entry is chosen.
"use strict";

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-choose]")) event.target.form.submit();
});

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
