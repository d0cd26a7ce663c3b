// The panel of an opened chat: a frame of our own origin, beside the launcher. It obeys that frame alone, keeps for it what
// the page's visitor has (a session, prompts that are still to be sent) in the page's own storage, and fits it to the screen.
const CSS = `
.panel { position: fixed; bottom: calc(var(--y) + 72px + env(safe-area-inset-bottom)); width: min(400px, 100vw - 32px);
  height: min(704px, 100vh - var(--y) - 96px); border-radius: 20px; overflow: hidden; background: Canvas; visibility: hidden;
  opacity: 0; transform: translateY(12px) scale(.97); box-shadow: 0 0 0 1px #0001, 0 2px 8px #0001, 0 16px 56px #0004;
  transition: opacity .18s, transform .26s cubic-bezier(.2,.9,.3,1), visibility 0s .26s; }
.panel.open { visibility: visible; opacity: 1; transform: none; transition-delay: 0s; }
.panel.full { border-radius: 0; box-shadow: none; transform: none; bottom: auto; right: auto; }
iframe { display: block; width: 100%; height: 100%; border: 0; transform-origin: 0 0; color-scheme: normal; }
.coming::after { content: ""; position: absolute; inset: -4px; border-radius: 50%; border: 3px solid transparent;
  border-top-color: var(--accent); animation: turn .8s linear infinite; }
@keyframes turn { to { rotate: 1turn; } }
@media (prefers-reduced-motion) { .coming::after { animation: none; } }
@media (forced-colors: active) { .panel { border: 2px solid CanvasText; } }`;
const PATIENCE_MS = 2000;

export default function panel(chat) {
  const launcher = chat.shadow.querySelector("button");
  const box = chat.add(chat.shadow, "div", { class: "panel", role: "dialog", "aria-label": chat.settings.name });
  let frame = null;
  let port = null;
  let queued = []; // for the frame, until it listens
  let memory = null; // what cannot be stored
  let dimmed = null;

  chat.style(CSS);
  box.addEventListener("keydown", (event) => event.key === "Escape" && chat.api.close());
  const heard = [
    [window, "message", hear],
    [window, "storage", onStorage],
    [window, "resize", fit],
    [window.visualViewport, "resize", fit],
    [window.visualViewport, "scroll", fit],
  ];
  for (const [target, type, act] of heard) target?.addEventListener(type, act);

  // --- what the page keeps for its visitor ---

  function stored() {
    try {
      return JSON.parse(localStorage.getItem(chat.place)) ?? memory;
    } catch {
      return memory;
    }
  }

  function keep({ set, put = [], drop = [] }) {
    const old = stored() ?? {};
    const gone = new Set([...drop, ...put.map((each) => each.key)]);
    const outbox = [...(old.outbox ?? []).filter((each) => !gone.has(each.key)), ...put];
    const kept = { ...old, ...set, outbox };
    try {
      localStorage.setItem(chat.place, JSON.stringify(kept));
      memory = null;
    } catch {
      memory = kept; // denied or full: this page remembers, the next one will not
    }
  }

  // Another tab signed out, or began to talk.
  function onStorage({ key, newValue }) {
    if (key !== chat.place || !frame) return;
    if (newValue === null) restart();
    else tell({ type: "stored", stored: stored() });
  }

  // --- the frame ---

  function load() {
    if (frame) return;
    launcher.classList.add("coming");
    const query = new URLSearchParams({ key: chat.key, locale: chat.locale });
    const src = `${chat.root}/widget/${chat.chatbot}?${query}`;
    const fresh = chat.add(box, "iframe", { src, title: chat.settings.name, allow: "clipboard-write" });
    frame = fresh;
    // Where this page may not embed it the browser shows nothing, and says so to nobody.
    const why = "its key does not list this page's hostname";
    fresh.addEventListener("load", () => setTimeout(() => frame === fresh && !port && chat.refuse(why), PATIENCE_MS));
    fit();
  }

  function unload() {
    frame?.remove();
    port?.close();
    frame = port = memory = null;
    queued = [];
  }

  function restart() {
    const wasLoaded = frame !== null;
    unload();
    box.ariaLabel = chat.settings.name;
    chat.unread = 0;
    chat.dress();
    if (wasLoaded && chat.isOpen) open();
  }

  function hear({ source, origin, data }) {
    if (!frame || source !== frame.contentWindow || origin !== chat.origin || data?.type !== "gigachat:hello") return;
    port?.close();
    const channel = new MessageChannel();
    port = channel.port1;
    port.onmessage = obey;
    const { theme, accent, greeting, starters } = chat.settings;
    const given = { theme, accent, greeting, starters };
    const start = { stored: stored(), isNamed: Boolean(chat.getUser), isOpen: chat.isOpen, context: chat.context, given };
    source.postMessage({ type: "gigachat:start", start }, chat.origin, [channel.port2]);
    for (const each of queued.splice(0)) port.postMessage(each);
    launcher.classList.remove("coming");
  }

  function tell(message) {
    if (port) port.postMessage(message);
    else if (frame) queued.push(message);
  }

  async function obey({ data }) {
    if (data.type === "keep") keep(data);
    else if (data.type === "close") chat.api.close();
    else if (data.type === "token") {
      const token = await userToken();
      tell({ type: "token", ask: data.ask, token });
    } else if (data.type === "event") {
      if (data.name === "unread") {
        chat.unread = data.detail;
        chat.dress();
      }
      chat.emit(data.name, data.detail);
    }
  }

  async function userToken() {
    try {
      return String((await chat.getUser?.()) ?? "");
    } catch (error) {
      chat.emit("error", { code: "user_token", detail: String(error) });
      return "";
    }
  }

  // --- on the screen ---

  // On a phone the chat is the whole of what is seen, also above the keyboard, and on pages that are laid out for desktops.
  function fit() {
    const seen = window.visualViewport ?? { width: innerWidth, height: innerHeight, offsetLeft: 0, offsetTop: 0 };
    const isFull = screen.width <= 480 || innerWidth <= 480 || innerHeight < 420;
    const zoom = screen.width <= 480 ? Math.max(1, seen.width / screen.width) : 1;
    const { side, offset_x } = chat.settings;
    box.classList.toggle("open", chat.isOpen);
    box.classList.toggle("full", isFull);
    box.ariaModal = isFull ? "true" : null;
    box.style.cssText = isFull
      ? `left:${seen.offsetLeft}px;top:${seen.offsetTop}px;width:${seen.width}px;height:${seen.height}px`
      : `${side}:${offset_x}px;transform-origin:bottom ${side}`;
    launcher.style.visibility = isFull && chat.isOpen ? "hidden" : "";
    if (frame) frame.style.cssText = zoom > 1 ? `width:${seen.width / zoom}px;height:${seen.height / zoom}px;transform:scale(${zoom})` : "";
    // What is behind it is out of reach for as long; the page may put another body in its place meanwhile.
    if (dimmed) dimmed.inert = false;
    dimmed = isFull && chat.isOpen ? document.body : null;
    if (dimmed) dimmed.inert = true;
  }

  function open() {
    load();
    chat.unread = 0;
    chat.dress();
    tell({ type: "open" });
    frame.focus();
  }

  function close() {
    tell({ type: "close" });
    fit();
  }

  function remove() {
    for (const [target, type, act] of heard) target?.removeEventListener(type, act);
    unload();
    if (dimmed) dimmed.inert = false;
  }

  return { open, close, load, restart, fit, tell, remove };
}
