// What a page does with the TypeScript client as an end user. It leaves what it was told in `window.told`, for the test.
import { ApiError, Gigachat } from "./client.js";

interface Given {
  url: string;
  chatbot: string;
  expired: string;
  token: string;
  otherChatbot: string;
}

interface Page {
  given: Given;
  told?: object;
  isStopped?: boolean;
}

const page = window as unknown as Page;
const { url, chatbot, expired, token, otherChatbot } = page.given;
let asked = 0;
const client = new Gigachat({ url, token: async () => ((asked += 1), asked === 1 ? expired : token) });

async function failure(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return "";
  } catch (error) {
    return error instanceof ApiError ? error.code : (error as Error).name;
  }
}

async function act(): Promise<object> {
  const [first] = await client.say(chatbot, "Hi");
  const conversationId = first?.conversation_id ?? "";
  const turn = await client.sayStream(chatbot, "Again", { conversationId });
  const pieces: string[] = [];
  for await (const text of turn.text) pieces.push(text);

  const leaving = new AbortController();
  const left = await client.sayStream(chatbot, "Wait", { conversationId, signal: leaving.signal });
  const heard = failure(left.finish());
  while (!left.soFar) await new Promise((resolve) => setTimeout(resolve, 5));
  leaving.abort();
  const stopped = await heard;
  page.isStopped = true;

  const seen: string[] = [];
  for await (const happened of client.follow(chatbot, { conversationId })) {
    if ("type" in happened && happened.message) seen.push(`${happened.message.role}: ${happened.message.content}`);
    if (seen.length === 6) break;
  }
  const path = { chatbot_id: chatbot, conversation_id: conversationId };
  const route = "/chatbots/{chatbot_id}/conversations/{conversation_id}/messages";
  let listed = 0;
  for await (const _ of client.pages((query) => client.api.GET(route, { params: { path, query: { ...query, limit: 2 } } })))
    listed += 1;
  const foreign = await failure(client.say(otherChatbot, "Hi"));
  return { first: first?.content, pieces, reply: turn.reply?.content, soFar: left.soFar, stopped, seen, listed, foreign, asked };
}

page.told = await act().catch((error: unknown) => ({ error: String(error) }));
