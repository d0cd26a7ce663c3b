// What the TypeScript client does with a server: each answer is used by its type. Run as `talk.js URL KEY`.
import { ApiError, Gigachat, type Delta, type Event, type Message } from "./client.js";

declare const process: { argv: string[]; stdout: { write(text: string): void } };

const [url, key] = process.argv.slice(2);
if (url === undefined || key === undefined) throw new Error("talk.js URL KEY");
let asked = 0;
const client = new Gigachat({ url: `${url}/`, token: async () => ((asked += 1), key) });

const made = await client.api.POST("/chatbots", { body: { name: "Superbot", response: { temperature: 0 } } });
if (made.data === undefined) throw new Error(made.error.code);
const chatbot: string = made.data.id;

const said = { conversationId: "a/b ü", userId: "ann" };
const [first] = await client.say(chatbot, "Hi", { ...said, metadata: { page: "/help" } });
const turn = await client.sayStream(chatbot, "Again", said);
const prompt: string | undefined = turn.prompt?.content;
const pieces: string[] = [];
for await (const text of turn.text) pieces.push(text);
const reply: Message | undefined = turn.reply;

const path = { chatbot_id: chatbot, conversation_id: said.conversationId };
const route = "/chatbots/{chatbot_id}/conversations/{conversation_id}/messages";
const roles: Message["role"][] = [];
const paged = client.pages((query) => client.api.GET(route, { params: { path, query: { ...query, limit: 1 } } }));
for await (const message of paged) roles.push(message.role);

const seen: number[] = [];
for await (const happened of client.follow(chatbot, { conversationId: said.conversationId, after: "1" })) {
  if (isEvent(happened)) seen.push(happened.seq);
  if (seen.length === 3) break;
}

const leaving = new AbortController();
setTimeout(() => leaving.abort(), 20);
let left = "";
try {
  for await (const _ of client.follow(chatbot, { signal: leaving.signal }));
} catch (error) {
  left = (error as Error).name;
}

let code = "";
try {
  await client.say("none", "Hi", said);
} catch (error) {
  if (error instanceof ApiError) code = error.code;
}

const told = { first: first?.content, prompt, told: pieces.join(""), soFar: turn.soFar, reply: reply?.content };
process.stdout.write(JSON.stringify({ ...told, roles, seen, left, code, asked }));

function isEvent(happened: Event | Delta): happened is Event {
  return "type" in happened;
}
