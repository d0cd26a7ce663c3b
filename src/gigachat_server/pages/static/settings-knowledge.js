// Files by drag and drop, each with its progress; and rows of documents and sites that are not ready yet, until they are.
"use strict";

{
  const AT_ONCE = 3;
  const LOOK_MS = 800;
  const desk = document.querySelector(".desk");
  const drop = document.getElementById("drop");
  const documents = document.getElementById("documents");
  const lists = { documents, sites: document.getElementById("sites") };
  const stateUrl = document.querySelector("[data-state]").dataset.state;
  const waiting = [];
  let running = 0;
  let looking = false;

  if (drop) watchDrops();
  look();

  // --- what is dropped or chosen ---

  function watchDrops() {
    let depth = 0;
    const over = (isOver) => drop.classList.toggle("is-over", isOver);
    addEventListener("dragenter", (event) => hasFiles(event) && over(++depth > 0));
    addEventListener("dragleave", (event) => hasFiles(event) && over(--depth > 0));
    addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    addEventListener("drop", async (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      over(false);
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
      for (const entry of entries) if (entry) await add(entry);
    });
    for (const button of drop.querySelectorAll("[data-pick]")) {
      const input = document.getElementById(button.dataset.pick);
      button.addEventListener("click", () => input.click());
      input.addEventListener("change", () => {
        for (const file of input.files) send(file, file.webkitRelativePath || file.name);
        input.value = "";
      });
    }
    document.getElementById("uploads-clear").addEventListener("click", () => {
      for (const row of document.querySelectorAll("#uploads .is-over-with")) row.remove();
      showUploads();
    });
    addEventListener("beforeunload", (event) => {
      if (running || waiting.length) event.preventDefault();
    });
  }

  function hasFiles(event) {
    return event.dataTransfer?.types.includes("Files");
  }

  // A file, or all that is in a folder, under its path.
  async function add(entry, path = "") {
    if (entry instanceof File) return send(entry, entry.name);
    if (entry.name.startsWith(".")) return;
    const name = path + entry.name;
    if (entry.isFile) return send(await new Promise((done, failed) => entry.file(done, failed)), name);
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // a hundred at a time
      if (!some.length) return;
      for (const each of some) await add(each, `${name}/`);
    }
  }

  // --- sending ---

  function send(file, name) {
    const row = rowOf(name);
    document.querySelector("#uploads ul").append(row.item);
    const job = { file, name, row };
    if (file.size > Number(drop.dataset.most)) failed(job, "This file is larger than the server takes.");
    else if (!file.size) failed(job, "This file is empty.");
    else waiting.push(job);
    showUploads();
    go();
  }

  function go() {
    while (running < AT_ONCE && waiting.length) post(waiting.shift());
  }

  function post(job) {
    const form = new FormData();
    form.append("name", job.name);
    form.append("file", job.file);
    const request = new XMLHttpRequest();
    running += 1;
    job.row.say("sending");
    request.upload.addEventListener("progress", (event) => job.row.progress(event.loaded / (event.total || 1)));
    request.addEventListener("loadend", () => {
      running -= 1;
      const answer = parsed(request.responseText);
      if (request.status === 202) arrived(job, answer);
      else if (!request.status) failed(job, "The connection was lost.", true);
      else failed(job, reason(answer), request.status >= 500 || request.status === 429);
      showUploads();
      go();
    });
    request.open("POST", drop.dataset.action);
    request.setRequestHeader("X-CSRF-Token", desk.dataset.csrf);
    request.send(form);
  }

  function parsed(text) {
    try {
      return JSON.parse(text);
    } catch {
      return {};
    }
  }

  function reason(problem) {
    const first = problem.errors?.[0];
    return first ? `${first.field}: ${first.message}` : problem.detail || "The server refused it.";
  }

  function arrived(job, answer) {
    job.row.item.remove();
    row("documents", answer.id)?.remove();
    documents.prepend(element(answer.html));
    document.getElementById("no-documents").hidden = true;
    look();
  }

  function failed(job, text, mayRetry = false) {
    job.row.fail(text, mayRetry && (() => {
      waiting.push(job);
      go();
    }));
  }

  function rowOf(name) {
    const item = document.createElement("li");
    item.className = "entry";
    item.innerHTML =
      '<span class="dot working"></span><div class="what"><p class="name"><bdi></bdi></p>' +
      '<p class="hint"><progress max="1" value="0"></progress> <span>waits</span></p></div>';
    const [bdi, bar, said] = ["bdi", "progress", ".hint span"].map((each) => item.querySelector(each));
    bdi.textContent = name;
    bar.setAttribute("aria-label", name);
    let button = null;
    return {
      item,
      say(text) {
        button?.remove();
        item.classList.remove("is-over-with");
        item.firstChild.className = "dot working";
        said.className = "";
        said.textContent = text;
        bar.hidden = false;
      },
      progress(share) {
        bar.value = share;
        if (share >= 1) said.textContent = "sent; waits for the server";
      },
      fail(text, retry) {
        item.classList.add("is-over-with");
        item.firstChild.className = "dot failed";
        bar.hidden = true;
        said.className = "bad";
        said.textContent = text;
        if (!retry) return;
        button = document.createElement("button");
        button.type = "button";
        button.className = "button quiet";
        button.textContent = "Try again";
        button.addEventListener("click", retry);
        item.append(button);
      },
    };
  }

  function showUploads() {
    const left = document.querySelectorAll("#uploads li").length;
    const wrong = document.querySelectorAll("#uploads .is-over-with").length;
    document.getElementById("uploads").hidden = !left;
    document.getElementById("uploads-clear").hidden = !wrong;
    const sending = left - wrong;
    document.getElementById("uploads-title").textContent = sending ? `Sending ${sending} file${sending === 1 ? "" : "s"}` : "Not sent";
  }

  // --- what becomes of them ---

  function row(kind, id) {
    return lists[kind]?.querySelector(`[data-id="${id}"]`);
  }

  function element(html) {
    const made = document.createElement("template");
    made.innerHTML = html.trim();
    return made.content.firstElementChild;
  }

  function live(kind) {
    return [...document.querySelectorAll(`[data-live="${kind}"]`)].slice(0, 100).map((each) => each.dataset.id);
  }

  // Asks as long as one of them is not ready. A row that nobody has opened something of is replaced.
  async function look() {
    if (looking) return;
    looking = true;
    try {
      for (let failures = 0; failures < 20; ) {
        const asked = { documents: live("documents"), sites: live("sites") };
        if (!asked.documents.length && !asked.sites.length) return;
        try {
          const query = new URLSearchParams({ documents: asked.documents.join(), sites: asked.sites.join() });
          const show = new URLSearchParams(location.search).get("show");
          if (show) query.set("show", show);
          const answer = await fetch(`${stateUrl}?${query}`);
          if (answer.status === 401 || answer.status === 403 || answer.status === 404) return;
          if (!answer.ok) throw new Error(answer.status);
          showState(await answer.json());
          failures = 0;
        } catch {
          failures += 1;
        }
        await new Promise((done) => setTimeout(done, LOOK_MS * (1 + failures)));
      }
    } finally {
      looking = false;
    }
  }

  function showState(told) {
    for (const kind of ["documents", "sites"]) {
      for (const [id, html] of Object.entries(told[kind])) {
        const held = row(kind, id);
        if (!held) continue;
        if (html === null) held.remove();
        else if (!held.querySelector(":popover-open, details[open]")) held.replaceWith(element(html));
      }
    }
    const counts = document.getElementById("counts");
    if (counts) counts.innerHTML = told.counts;
  }
}
