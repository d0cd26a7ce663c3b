// Three calls with the client that openapi-typescript and openapi-fetch make. Each answer is used by its type.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const [base, key] = process.argv.slice(2);
if (base === undefined || key === undefined) throw new Error("calls.js URL KEY");
const client = createClient<paths, `application/${string}`>({
  baseUrl: base,
  headers: { Authorization: `Bearer ${key}` },
});

const made = await client.POST("/chatbots", { body: { name: "Superbot" } });
if (made.data === undefined) throw new Error(made.error.code);
const path = { chatbot_id: made.data.id };

const changed = await client.PATCH("/chatbots/{chatbot_id}", {
  params: { path },
  body: { response: { temperature: 0 } },
});
if (changed.data === undefined) throw new Error(changed.error.code);
const response: components["schemas"]["ResponseConfig"] = changed.data.response;
const temperature: number = response.temperature;
const tokens: number = response.max_tokens;

const said = await client.POST("/chatbots/{chatbot_id}/conversations", {
  params: { path },
  body: { conversation_id: "12345", user_id: "someone@example.com", prompt: "Hello?", metadata: { page: "/help" } },
});
if (said.data === undefined) throw new Error(said.error.code);
const [reply] = said.data;
if (reply === undefined) throw new Error("no reply");
const role: "user" | "assistant" | "operator" | "system" = reply.role;

const missing = await client.GET("/chatbots/{chatbot_id}", { params: { path: { chatbot_id: "none" } } });
const code: string | undefined = missing.error?.code;

console.log(JSON.stringify({ temperature, tokens, role, code }));
