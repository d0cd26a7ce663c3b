// The loader: a launcher in a shadow root on <html>. The chat comes when somebody opens it, by `panel.js`. It stores nothing.
(() => {
  "use strict";
  const GIVEN = null; // the server puts the settings here where the address names the key
  const script = document.currentScript ?? document.querySelector("script[src*='/widget.js']");
  const calls = window.gigachat;
  if (!script || calls?.destroy) return;

  const { origin, pathname, searchParams } = new URL(script.src);
  const own = script.dataset;
  const chatbot = own.chatbot ?? searchParams.get("chatbot");
  const key = own.key ?? searchParams.get("key");
  const listeners = {};
  let host, launcher, badge, coming, isHidden, isGone;
  const chat = {
    origin,
    root: origin + pathname.replace(/\/widget\.js$/, ""),
    chatbot,
    key,
    place: `gigachat:${chatbot}`, // in the page's storage
    unread: 0,
    isOpen: false,
    dress,
    emit,
    refuse,
  };

  const ICONS = {
    chat: "M12 3.2c5.2 0 9.3 3.5 9.3 8s-4.1 8-9.3 8c-1 0-2-.1-2.900-.4l-4.200 2.1 1.200-4c-2.1-1.5-3.4-3.5-3.4-5.700 0-4.5 4.1-8 9.3-8Z",
    down: "m6 9.5 6 6 6-6",
  };
  const CSS = `
:host { all: initial !important; display: block !important; position: fixed !important;
  z-index: var(--gigachat-z-index, 2147483000) !important; }
:host([hidden]) { display: none !important; }
button { position: fixed; bottom: calc(var(--y) + env(safe-area-inset-bottom)); width: 56px; height: 56px; border: 0;
  border-radius: 50%; cursor: pointer; background: var(--accent); color: var(--on);
  box-shadow: 0 1px 3px #0003, 0 6px 24px #0003; transition: transform .2s cubic-bezier(.2,.8,.2,1); }
button:hover { transform: scale(1.06); }
button:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; box-shadow: 0 0 0 3px #fff; }
svg { position: absolute; inset: 14px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round;
  stroke-linejoin: round; transition: .2s; }
.chat { fill: currentColor; }
.down, [aria-expanded=true] .chat { opacity: 0; transform: rotate(-50deg) scale(.6); }
[aria-expanded=true] .down { opacity: 1; transform: none; }
span { position: absolute; top: -3px; right: -3px; min-width: 10px; padding: 0 6px; border-radius: 11px; background: #d92d20;
  color: #fff; font: 600 12px/22px system-ui; box-shadow: 0 0 0 2px #fff; }
span:empty { display: none; }
@media (prefers-reduced-motion) { * { transition: none !important; } }
@media (forced-colors: active) { button { border: 2px solid; } }`;

  function build() {
    host = document.createElement("gigachat-widget");
    chat.shadow = host.attachShadow({ mode: "open" });
    chat.style(CSS);
    launcher = chat.add(chat.shadow, "button", { type: "button", "aria-haspopup": "dialog" });
    for (const name in ICONS) chat.add(chat.add(launcher, "svg", { class: name, viewBox: "0 0 24 24" }), "path", { d: ICONS[name] });
    badge = chat.add(launcher, "span", { "aria-hidden": true });
    launcher.addEventListener("click", () => api.toggle());
    // What is typed here is none of the page's shortcuts.
    for (const type of ["keydown", "keyup", "keypress"]) host.addEventListener(type, (event) => event.stopPropagation());
    dress();
    const html = document.documentElement;
    html.append(host);
    // Shown also where a rule hides everything; nothing else is.
    const isHidden = (element) => element && getComputedStyle(element).display === "none";
    if (isHidden(html) && isHidden(document.body)) html.style.setProperty("display", "block", "important");
  }

  chat.add = (to, tag, attributes) => {
    const isDrawn = tag === "svg" || tag === "path";
    const made = isDrawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const name in attributes) made.setAttribute(name, attributes[name]);
    to.append(made);
    return made;
  };

  chat.style = (css) => {
    const sheet = new CSSStyleSheet(); // the page's policy on styles is about others
    sheet.replaceSync(css);
    chat.shadow.adoptedStyleSheets = [...chat.shadow.adoptedStyleSheets, sheet];
  };

  // Colour, side and distance; and what the button is called now.
  function dress() {
    if (!host) return;
    const { accent, side, offset_x, offset_y, labels } = chat.settings;
    const [red, green, blue] = accent.match(/[^#]{2}/g).map((pair) => (parseInt(pair, 16) / 255) ** 2.2);
    host.style.setProperty("--accent", accent);
    host.style.setProperty("--on", 0.21 * red + 0.72 * green + 0.07 * blue > 0.18 ? "#111" : "#fff");
    host.style.setProperty("--y", `${offset_y}px`);
    launcher.style.cssText = `${side}:${offset_x}px`;
    launcher.ariaExpanded = String(chat.isOpen);
    const { unread } = chat;
    launcher.ariaLabel = chat.isOpen ? labels.close : labels.open + (unread ? `. ${labels.unread.replace("{n}", unread)}` : "");
    badge.textContent = chat.isOpen || !unread ? "" : unread > 99 ? "99+" : unread;
    host.hidden = isHidden;
    chat.panel?.fit();
  }

  function emit(name, detail) {
    for (const each of listeners[name] ?? []) each(detail);
  }

  function refuse(detail) {
    console.warn(`gigachat: no chat here: ${detail}.`);
    emit("error", { code: "refused", detail });
    api.destroy();
  }

  function hasTalked() {
    try {
      return localStorage.getItem(chat.place);
    } catch {}
  }

  // With the panel, which is fetched when it is first needed.
  function withPanel(act) {
    coming ??= import(chat.settings.panel_url).then((found) => (chat.panel = found.default(chat)));
    return coming.then(() => isGone || act(chat.panel)).catch((error) => ((coming = null), emit("error", error)));
  }

  function change(act) {
    act();
    dress();
  }

  const api = (chat.api = {
    open() {
      if (!host || chat.isOpen) return;
      change(() => (chat.isOpen = true));
      withPanel((panel) => chat.isOpen && panel.open());
      emit("open");
    },
    close() {
      if (!chat.isOpen) return;
      change(() => (chat.isOpen = false));
      chat.panel?.close();
      launcher.focus();
      emit("close");
    },
    toggle: () => (chat.isOpen ? api.close() : api.open()),
    hide: () => change(() => (isHidden = true)),
    show: () => change(() => (isHidden = false)),
    // What gets the user's token from the page's server; null: nobody is signed in.
    setUser(getUser) {
      const was = chat.getUser;
      chat.getUser = getUser;
      if (!getUser && (was || hasTalked())) api.reset();
      else chat.panel?.tell({ type: "user" });
    },
    setContext(context) {
      if (JSON.stringify(context ?? null).length > 2048) return emit("error", { code: "context_too_large" });
      chat.context = context;
      chat.panel?.tell({ type: "context", context });
    },
    setLocale: (locale) => (own.locale = locale) && chat.settings && arrive().then(() => chat.panel?.restart()),
    setTheme(given) {
      const theme = typeof given === "string" ? { theme: given } : given;
      change(() => Object.assign(chat.settings, theme));
      chat.panel?.tell({ type: "theme", theme });
    },
    send(text) {
      api.open();
      withPanel((panel) => panel.tell({ type: "send", text: String(text) }));
    },
    // As if nobody had talked here, in other tabs, too.
    reset() {
      try {
        localStorage.removeItem(chat.place);
      } catch {}
      change(() => (chat.unread = 0));
      chat.panel?.restart();
    },
    on(name, act) {
      (listeners[name] ??= new Set()).add(act);
      return () => listeners[name].delete(act);
    },
    push(...given) {
      for (const [name, ...values] of given) api[name]?.(...values);
    },
    destroy() {
      isGone = true;
      chat.panel?.remove();
      host?.remove();
      host = null;
      delete window.gigachat;
    },
  });

  // The key's settings, under those of the tag.
  async function arrive() {
    chat.locale = own.locale || document.documentElement.lang || navigator.language;
    const query = new URLSearchParams({ key, locale: chat.locale });
    const found = chat.settings || !GIVEN ? await import(`${chat.root}/widget/${chatbot}/settings.js?${query}`).catch(() => null) : { default: GIVEN };
    const settings = { ...found?.default };
    if (!settings.accent) return isGone || refuse(settings.refused ?? "the server does not answer");
    for (const name in own) {
      const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      if (snake in settings) settings[snake] = snake === "starters" ? own[name].split("|") : own[name];
    }
    if (!/^#[0-9a-f]{6}$/i.test(settings.accent)) settings.accent = found.default.accent;
    chat.settings = settings;
  }

  window.gigachat = api;
  if (!chatbot || !key) return refuse("the tag names no chatbot or no key");
  arrive().then(() => {
    if (isGone || !chat.settings) return;
    build();
    if (Array.isArray(calls)) api.push(...calls);
    emit("ready");
    // Who has talked here sees what was said since, once the page is idle.
    const look = () => hasTalked() && withPanel((panel) => panel.load());
    const idle = () => (window.requestIdleCallback ?? setTimeout)(look);
    if (document.readyState === "complete") idle();
    else addEventListener("load", idle);
  });
})();
