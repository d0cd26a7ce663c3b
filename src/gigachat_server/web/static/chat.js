// Sends what is written and shows what comes back. Text from anybody goes through textContent; the only HTML put into
// the page is that of `start` and `message` events, which the server made from its own templates.
"use strict";

const composer = document.getElementById("composer");
if (composer) start();

function start() {
  const prompt = document.getElementById("prompt");
  const userId = document.getElementById("user-id");

  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  prompt.addEventListener("input", () => {
    fit();
    showCurl();
  });
  userId.addEventListener("input", () => {
    document.getElementById("speaker-shown").textContent = userId.value;
    showCurl();
  });
  document.getElementById("chatbot").addEventListener("change", (event) => event.target.form.submit());
  for (const button of document.querySelectorAll("[data-prompt]")) {
    button.addEventListener("click", () => {
      prompt.value = button.dataset.prompt;
      send();
    });
  }
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(document.body));
  showCurl();
  toEnd();
}

async function send() {
  const prompt = document.getElementById("prompt");
  const text = prompt.value;
  if (!text.trim() || composer.ariaBusy === "true") return;
  setBusy(true);
  showProblem("");
  closeMenus(document.body);
  const turn = { text, isStored: false, isOver: false, bubbles: new Map() };
  try {
    const response = await fetch("/web/chat", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": composer.dataset.csrf },
      body: JSON.stringify(request(text)),
    });
    if (!response.ok) {
      await showRefusal(response);
      return;
    }
    for await (const event of events(response.body)) take(event, turn);
    if (!turn.isOver) showCut(turn);
  } catch {
    showCut(turn);
  } finally {
    for (const bubble of turn.bubbles.values()) bubble.remove();
    setBusy(false);
    prompt.focus();
  }
}

function request(text) {
  return {
    chatbot_id: composer.dataset.chatbot,
    conversation_id: composer.dataset.conversation,
    user_id: document.getElementById("user-id").value,
    prompt: text,
  };
}

function take({ name, data }, turn) {
  const messages = document.getElementById("messages");
  const follows = isAtEnd();
  if (name === "start") {
    turn.isStored = true;
    document.getElementById("welcome")?.remove();
    messages.append(fragment(data.html));
    clearPrompt(turn.text);
    rememberConversation();
    for (const id of data.message_ids) {
      const bubble = waiting();
      turn.bubbles.set(id, bubble);
      messages.append(bubble);
    }
  } else if (name === "delta") {
    const content = turn.bubbles.get(data.message_id).querySelector(".content");
    content.classList.remove("typing");
    content.append(data.text);
  } else if (name === "message") {
    const bubble = turn.bubbles.get(data.message_id);
    turn.bubbles.delete(data.message_id);
    bubble.replaceWith(fragment(data.html));
  } else {
    turn.isOver = true;
    if (name === "error") showFailure(data, turn);
  }
  if (follows || name === "start") toEnd();
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split("\n\n");
    held = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block)?.[1];
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (name && data) yield { name, data: JSON.parse(data) };
    }
  }
}

// --- what can go wrong ---

async function showRefusal(response) {
  const problem = await response.json().catch(() => ({}));
  const fields = (problem.errors ?? []).map((error) => `${error.field}: ${error.message}`).join(" ");
  const link = response.status === 401 ? ["Sign in", "/login", "_blank"] : null;
  showProblem(fields || problem.detail || `The server answered ${response.status}.`, link);
}

function showFailure(problem, turn) {
  if (problem.is_partly_stored) {
    showProblem(problem.detail, ["Show what is stored", location.href, ""]);
    return;
  }
  document.getElementById("messages").lastElementChild?.classList.add("failed");
  restorePrompt(turn.text);
  showProblem(problem.detail, ["About this error", problem.type, "_blank"]);
}

function showCut(turn) {
  if (turn.isStored) {
    showProblem("The connection was lost. The reply is finished and stored all the same.", ["Show it", location.href, ""]);
  } else {
    showProblem("The server cannot be reached. Your prompt is still here; send it again in a moment.");
  }
}

function showProblem(text, link) {
  const problem = document.getElementById("problem");
  problem.replaceChildren(text);
  problem.hidden = !text;
  if (!link) return;
  const anchor = document.createElement("a");
  [anchor.textContent, anchor.href, anchor.target] = link;
  problem.append(" ", anchor);
}

// --- the page ---

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

function waiting() {
  const bubble = document.createElement("article");
  bubble.className = "message assistant streaming";
  bubble.ariaBusy = "true"; // screen readers wait for the whole reply
  const badge = document.createElement("span");
  badge.className = "badge assistant";
  badge.textContent = "Assistant";
  const header = document.createElement("header");
  header.append(badge);
  const content = document.createElement("div");
  content.className = "content plain typing";
  bubble.append(header, content);
  return bubble;
}

function setBusy(isBusy) {
  composer.ariaBusy = String(isBusy);
  document.getElementById("send").disabled = isBusy;
}

function clearPrompt(sent) {
  const prompt = document.getElementById("prompt");
  if (prompt.value === sent) prompt.value = "";
  fit();
  showCurl();
}

function restorePrompt(text) {
  const prompt = document.getElementById("prompt");
  if (!prompt.value) prompt.value = text;
  fit();
  showCurl();
}

function rememberConversation() {
  const query = new URLSearchParams({
    chatbot: composer.dataset.chatbot,
    conversation: composer.dataset.conversation,
  });
  history.replaceState(null, "", `/?${query}`);
}

function fit() {
  const prompt = document.getElementById("prompt");
  prompt.style.height = "auto";
  prompt.style.height = `${Math.min(prompt.scrollHeight, innerHeight * 0.4)}px`;
}

function isAtEnd() {
  return innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
}

function toEnd() {
  if (document.querySelector(".message")) scrollTo(0, document.documentElement.scrollHeight);
}

function closeMenus(clicked) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(clicked)) menu.open = false;
  }
}

// --- the same request as a command ---

function showCurl() {
  const { chatbot_id, ...body } = request(document.getElementById("prompt").value || "How do I push a document?");
  const json = JSON.stringify(body).replaceAll("'", "'\\''");
  document.getElementById("curl").textContent = [
    `curl -N '${location.origin}/chatbots/${chatbot_id}/conversations?embedding=false'`,
    `-H "Authorization: Bearer $GIGACHAT_API_KEY"`,
    `-H 'Content-Type: application/json'`,
    `-H 'Accept: text/event-stream'`,
    `-d '${json}'`,
  ].join(" \\\n  ");
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 2000);
  } catch {
    getSelection().selectAllChildren(text); // over plain http there is no clipboard: Ctrl+C does the rest
    button.textContent = "Press Ctrl+C";
  }
}
