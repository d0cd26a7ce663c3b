// The live test: the server is asked again as the prompt or a setting changes, and its page's result is shown.
"use strict";

{
  const form = document.getElementById("relevance");
  const query = document.getElementById("query");
  const number = document.getElementById("threshold");
  const range = document.getElementById("threshold-range");
  let asking = null;
  let timer = 0;

  range.hidden = false;
  range.addEventListener("input", () => {
    number.value = Number(range.value).toFixed(2);
    later(120);
  });
  number.addEventListener("input", () => (range.value = number.value));
  form.addEventListener("input", (event) => {
    if (event.target !== range) later(event.target === query ? 350 : 120);
    if (event.target === form) range.value = number.value; // after a reset
  });
  form.addEventListener("change", (event) => event.target !== range && later(120));
  query.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    ask();
  });
  form.querySelector('[value="ask"]').addEventListener("click", (event) => {
    event.preventDefault();
    ask();
  });

  function later(ms) {
    clearTimeout(timer);
    if (query.value.trim()) timer = setTimeout(ask, ms);
  }

  async function ask() {
    clearTimeout(timer);
    if (!query.value.trim()) return query.focus();
    asking?.abort();
    const mine = (asking = new AbortController());
    const result = document.getElementById("result");
    result.classList.add("is-asking");
    const body = new URLSearchParams(new FormData(form));
    body.set("do", "ask");
    try {
      const answer = await fetch(form.action, { method: "POST", body, signal: mine.signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = page.getElementById("result");
      if (mine !== asking) return;
      if (answer.ok && found) {
        const opened = [...result.querySelectorAll(".passage")].map((each) => each.querySelector(".why")?.open);
        result.replaceChildren(...found.childNodes);
        [...result.querySelectorAll(".why")].forEach((why, place) => (why.open = Boolean(opened[place])));
      } else {
        told(page.querySelector(".because, .problem")?.textContent || "The server could not say. Try again.");
      }
    } catch (error) {
      if (error.name !== "AbortError") told("The server does not answer. Try again.");
    } finally {
      if (mine === asking) result.classList.remove("is-asking");
    }
  }

  function told(text) {
    const line = document.createElement("p");
    line.className = "because";
    line.textContent = text;
    document.getElementById("result").replaceChildren(line);
  }
}
