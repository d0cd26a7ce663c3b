// Every client of OpenAI's API for JavaScript, unmodified, in its usual calls: what each brought, as one line of JSON.
import { createOpenAI } from "@ai-sdk/openai";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { Agent, OpenAIProvider, Runner, setTracingDisabled } from "@openai/agents";
import { embed, generateText, streamText } from "ai";
import OpenAI from "openai";

const [base, apiKey] = process.argv.slice(2);
if (apiKey === undefined) throw new Error("openai_clients.js URL KEY");
const baseURL = `${base}/chatbots/${process.env.CHATBOT}/v1`;
const found = {};

async function joined(pieces, text) {
  let all = "";
  for await (const piece of pieces) all += text(piece) ?? "";
  return all;
}

async function openai() {
  const client = new OpenAI({ baseURL, apiKey });
  const messages = [{ role: "user", content: "Hello?" }];
  const chat = await client.chat.completions.create({ model: "x", messages });
  const chunks = await client.chat.completions.create({ model: "x", messages, stream: true });
  const response = await client.responses.create({ model: "x", input: "Hello?" });
  const events = await client.responses.create({ model: "x", input: "Hello?", stream: true });
  const again = await client.responses.retrieve(response.id);
  const vector = (await client.embeddings.create({ model: "x", input: "Hello?" })).data[0].embedding;
  return {
    models: (await client.models.list()).data.map((model) => model.id),
    chat: chat.choices[0].message.content,
    chatStream: await joined(chunks, (chunk) => chunk.choices[0]?.delta?.content),
    responses: response.output_text,
    responsesStream: await joined(events, (event) => (event.type === "response.output_text.delta" ? event.delta : "")),
    again: again.output_text,
    dimension: vector.length,
  };
}

async function langchain() {
  const fields = { model: "x", apiKey, configuration: { baseURL } };
  const chat = new ChatOpenAI(fields);
  const responses = new ChatOpenAI({ ...fields, useResponsesApi: true });
  const vector = await new OpenAIEmbeddings(fields).embedQuery("Hello?");
  const first = await responses.invoke([["human", "First?"]]);
  await responses.invoke([["human", "First?"], first, ["human", "Second?"]]);
  return {
    chat: (await chat.invoke("Hello?")).text,
    chatStream: await joined(await chat.stream("Hello?"), (piece) => piece.text),
    responses: (await responses.invoke("Hello?")).text,
    responsesStream: await joined(await responses.stream("Hello?"), (piece) => piece.text),
    dimension: vector.length,
  };
}

async function aiSdk() {
  const provider = createOpenAI({ baseURL, apiKey });
  const messages = [{ role: "user", content: "One?" }];
  const first = await generateText({ model: provider("x"), messages });
  messages.push(...first.response.messages, { role: "user", content: "Two?" });
  const second = streamText({ model: provider("x"), messages });
  const chat = streamText({ model: provider.chat("x"), prompt: "Hello?" });
  return {
    responses: first.text,
    responsesStream: await joined(second.textStream, (piece) => piece),
    chat: (await generateText({ model: provider.chat("x"), prompt: "Hello?" })).text,
    chatStream: await joined(chat.textStream, (piece) => piece),
    dimension: (await embed({ model: provider.embedding("x"), value: "Hello?" })).embedding.length,
  };
}

async function agents() {
  setTracingDisabled(true);
  const agent = new Agent({ name: "any", instructions: "Ignored." });
  const answers = {};
  for (const [name, useResponses] of [["responses", true], ["chat", false]]) {
    const runner = new Runner({ modelProvider: new OpenAIProvider({ apiKey, baseURL, useResponses }), tracingDisabled: true });
    answers[name] = (await runner.run(agent, "Hello?")).finalOutput;
    const streamed = await runner.run(agent, "Hello?", { stream: true });
    answers[`${name}Stream`] = await joined(streamed.toTextStream(), (piece) => piece);
  }
  return answers;
}

for (const [name, call] of Object.entries({ openai, langchain, aiSdk, agents })) found[name] = await call();
console.log(JSON.stringify(found));
