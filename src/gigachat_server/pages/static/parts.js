// What several pages have: buttons that copy, lists that lead somewhere once an entry is chosen, and an answer to a form that is
// not asked for again: a reload goes to the page that `data-reload` names.
"use strict";

{
  const COPIED_MS = 2000;
  const answered = document.querySelector("[data-reload]");
  if (answered) history.replaceState(null, "", answered.dataset.reload);

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-choose]")) event.target.form.submit();
  });

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy);
    button.dataset.label ??= button.textContent;
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = button.dataset.label), COPIED_MS);
    } catch {
      getSelection().selectAllChildren(text); // over plain http there is no clipboard: Ctrl+C does the rest
      button.textContent = "Press Ctrl+C";
    }
  }
}
