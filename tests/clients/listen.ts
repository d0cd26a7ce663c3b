// One prompt, streamed, whatever becomes of the connection. Run as `listen.js URL KEY CHATBOT CONVERSATION PROMPT`.
import { Gigachat } from "./client.js";

declare const process: { argv: string[]; stdout: { write(text: string): void } };

const [url = "", key = "", chatbot = "", conversationId = "", prompt = ""] = process.argv.slice(2);
const turn = await new Gigachat({ url, token: key }).sayStream(chatbot, prompt, { conversationId, userId: "ann" });
let told = "";
for await (const text of turn.text) told += text;
process.stdout.write(JSON.stringify({ told, soFar: turn.soFar, reply: turn.reply }));
