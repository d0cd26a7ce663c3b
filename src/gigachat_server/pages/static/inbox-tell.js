// How operators are told that somebody waits: the tab's title, a sound, a notification.
"use strict";

let heard = null; // since when waits are told of, by the server's clock

let shownTitle = document.title;
let waitingCount = document.querySelector('[data-count="waiting"]').textContent;

function tellTitle() {
  document.title = waitingCount === "0" ? shownTitle : `(${waitingCount}) ${shownTitle}`;
}

function setUpTelling() {
  tellTitle();
  heard = Number(desk.dataset.now);
  const switches = { sound: "on", notify: "on", keys: "on" };
  for (const id of Object.keys(switches)) {
    const box = byId(id);
    box.checked = id === "keys" ? localStorage.getItem(id) !== "off" : localStorage.getItem(id) === "on";
    box.addEventListener("change", async () => {
      if (id === "notify" && box.checked && (await globalThis.Notification?.requestPermission()) !== "granted") box.checked = false;
      localStorage.setItem(id, box.checked ? "on" : "off");
    });
  }
  byId("test-sound").addEventListener("click", chime);
}

// Of each that waits once, in whichever tab is first; not of those that a colleague looks after.
async function tellOf(waits) {
  const mine = waits.filter(([, since, operator]) => since > heard && (!operator || operator === me));
  if (!mine.length) return;
  const claim = () => {
    const told = JSON.parse(localStorage.getItem("told") ?? "{}");
    const fresh = mine.filter(([key, since]) => (told[key] ?? 0) < since);
    for (const [key, since] of fresh) told[key] = since;
    const newest = Object.entries(told).sort((a, b) => b[1] - a[1]).slice(0, 200);
    localStorage.setItem("told", JSON.stringify(Object.fromEntries(newest)));
    return fresh;
  };
  const fresh = navigator.locks ? await navigator.locks.request("told", claim) : claim();
  if (!fresh.length) return;
  announce(fresh.length === 1 ? "Somebody waits." : `${fresh.length} more wait.`);
  if (localStorage.getItem("sound") === "on") chime();
  if (localStorage.getItem("notify") !== "on" || globalThis.Notification?.permission !== "granted") return;
  for (const [key] of fresh) {
    const [chatbot, ...rest] = key.split("/");
    const told = new Notification("Somebody waits for a human", { tag: key, icon: `${root}/static/icon.svg` });
    told.addEventListener("click", () => {
      focus();
      load(`${root}/inbox/${chatbot}/${encodeURIComponent(rest.join("/"))}?${desk.dataset.query}`);
    });
  }
}

// Two soft notes, made here: nothing is fetched.
function chime() {
  const audio = new AudioContext();
  for (const [at, pitch] of [[0, 660], [0.14, 880]]) {
    const [tone, volume] = [audio.createOscillator(), audio.createGain()];
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.0001, audio.currentTime + at);
    volume.gain.exponentialRampToValueAtTime(0.2, audio.currentTime + at + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + at + 0.5);
    tone.connect(volume).connect(audio.destination);
    tone.start(audio.currentTime + at);
    tone.stop(audio.currentTime + at + 0.5);
  }
}

function announce(text) {
  byId("announce").textContent = text;
}
