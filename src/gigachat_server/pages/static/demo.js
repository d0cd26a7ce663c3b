// The editor writes the tag, shows it, and hands it to the shop, which puts it in as any site would.
"use strict";

const looks = document.getElementById("looks");
const shop = document.getElementById("shop");
const LEAST_CONTRAST = 4.5;

if (looks) {
  looks.addEventListener("submit", (event) => event.preventDefault());
  looks.addEventListener("change", () => (write(), show()));
  looks.addEventListener("input", write);
  document.getElementById("copy").addEventListener("click", copy);
  addEventListener("message", ({ source, data }) => source === shop.contentWindow && data?.type === "demo:ready" && show());
  write();
}

// What differs from the key's own settings; the rest those say.
function dataset() {
  const chosen = { chatbot: looks.dataset.chatbot, key: looks.dataset.key };
  for (const { name, value, defaultValue, options } of looks.elements) {
    const usual = options ? [...options].find((each) => each.defaultSelected)?.value ?? options[0].value : defaultValue;
    const words = name === "starters" ? value.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, 4).join("|") : value.trim();
    if (name && words && words !== usual) chosen[name] = words;
  }
  if (chosen.accent && contrast(chosen.accent) < LEAST_CONTRAST) delete chosen.accent;
  return chosen;
}

function write() {
  const escaped = (value) => value.replaceAll("&", "&amp;").replaceAll('"', "&quot;");
  const attributes = Object.entries(dataset()).map(([name, value]) => `\n  data-${name}="${escaped(value)}"`);
  document.getElementById("tag").textContent = `<script async src="${looks.dataset.address}/widget.js"${attributes.join("")}></script>`;
  document.getElementById("contrast").hidden = contrast(looks.elements.accent.value) >= LEAST_CONTRAST;
}

function show() {
  const src = new URL(`${document.body.dataset.root}/widget.js`, location.href).href;
  shop.contentWindow.postMessage({ type: "demo:tag", src, dataset: dataset() }, location.origin);
}

function contrast(colour) {
  const [red, green, blue] = colour.match(/[^#]{2}/g).map((pair) => {
    const part = parseInt(pair, 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05);
}

async function copy({ target }) {
  await navigator.clipboard.writeText(document.getElementById("tag").textContent);
  target.textContent = "Copied";
  setTimeout(() => (target.textContent = "Copy"), 1500);
}
