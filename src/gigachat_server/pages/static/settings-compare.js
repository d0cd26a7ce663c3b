// Stored prompts asked again for the draft: each result is shown as it arrives.
"use strict";

{
  const form = document.getElementById("compare");
  const button = document.getElementById("run");
  const outcome = document.getElementById("outcome");
  const turns = document.getElementById("turns");
  let running = null;

  button.addEventListener("click", () => (running ? running.abort() : run()));

  async function run() {
    running = new AbortController();
    button.textContent = "Stop";
    turns.replaceChildren();
    say("Asking…");
    try {
      const body = new URLSearchParams(new FormData(form));
      const answer = await fetch(form.dataset.run, { method: "POST", body, signal: running.signal });
      if (!answer.ok) return say(reason(await answer.json()), true);
      await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch (error) {
      say(error.name === "AbortError" ? "Stopped." : "The connection was lost.", error.name !== "AbortError");
    } finally {
      running = null;
      button.textContent = "Compare";
    }
  }

  async function read(reader) {
    let [held, count, got, isOver] = ["", 0, 0, false];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const blocks = (held + value).split("\n\n");
      held = blocks.pop();
      for (const block of blocks) {
        const name = /^event: (.*)$/m.exec(block)?.[1];
        if (!name) continue;
        const told = JSON.parse(/^data: (.*)$/m.exec(block)[1]);
        if (name === "start") count = told.count;
        if (name === "turn") {
          got += 1;
          place(told.html);
        }
        if (name === "start" || name === "turn") say(count ? `${got} of ${count} asked` : "There is no prompt to ask again yet.");
        if (name === "done" && count) outcome.innerHTML = told.html;
        if (name === "error") say(reason(told), true);
        isOver ||= name === "done" || name === "error";
      }
    }
    if (!isOver) say("The connection was lost.", true);
  }

  // What changes most stands first, in the order of arrival.
  function place(html) {
    const rank = ["failed", "now_unanswered", "now_answered", "different", "same"];
    const made = document.createElement("template");
    made.innerHTML = html.trim();
    const item = made.content.firstElementChild;
    const before = [...turns.children].find((each) => rank.indexOf(each.dataset.changed) > rank.indexOf(item.dataset.changed));
    turns.insertBefore(item, before ?? null);
  }

  function say(text, isBad = false) {
    const line = document.createElement("p");
    line.className = isBad ? "because" : "hint";
    line.textContent = text;
    outcome.replaceChildren(line);
  }

  function reason(problem) {
    const first = problem.errors?.[0];
    return first ? `${first.field}: ${first.message}` : problem.detail || problem.title || "The server refused it.";
  }
}
