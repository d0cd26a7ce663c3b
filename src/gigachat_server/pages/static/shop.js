// Puts the chat on the pretend shop, by the tag that the editor around it has written.
"use strict";

addEventListener("message", ({ source, origin, data }) => {
  if (source !== parent || origin !== location.origin || data?.type !== "demo:tag") return;
  window.gigachat?.destroy?.();
  document.querySelector("script[data-key]")?.remove();
  const script = document.createElement("script");
  script.src = data.src;
  Object.assign(script.dataset, data.dataset);
  document.documentElement.lang = data.dataset.locale || "en";
  document.body.append(script);
  (window.gigachat ||= []).push(["open"]);
});

if (parent !== self) parent.postMessage({ type: "demo:ready" }, location.origin);
