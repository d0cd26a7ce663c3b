// A page of assistant-ui around the guide's runtime.
import { createElement as h } from "react";
import assert from "node:assert/strict";
import { ThreadPrimitive, MessagePrimitive, useAui } from "@assistant-ui/react";
import { Assistant } from "./app/assistant.tsx";

export async function assistant({ show, until, history }) {
  let aui;
  function Thread() {
    aui = useAui();
    const Message = () => h(MessagePrimitive.Root, null, h("article", null, h(MessagePrimitive.Parts)));
    return h(ThreadPrimitive.Root, null, h(ThreadPrimitive.Messages, { components: { Message } }));
  }
  const page = show(h(Assistant, null, h(Thread)));
  await until("the thread", () => aui);
  aui.thread().append("Hello");
  await until("the reply", () => page.texts().at(-1) === "re: Hello");
  page.close();
}
