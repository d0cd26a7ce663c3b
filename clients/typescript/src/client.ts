// gigachat's client: `api` has every route with its types, and what types alone do not give stands beside it.
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./api.js";
import { ApiError, bodyOf, problemOf, Sender, type Token } from "./sending.js";
import { events, type ServerEvent } from "./streams.js";

export type { components, paths } from "./api.js";
export { ApiError, NoAnswer, type Problem, type Token } from "./sending.js";
export type Message = components["schemas"]["WireMessage"];
export type Event = components["schemas"]["WireEvent"];
export type Delta = components["schemas"]["StreamDelta"];

export interface Options {
  /** The server's address, such as `https://chat.example.com`. */
  url: string;
  /** An API key, or a function that gives the token to use: it is asked again when the server says that one has expired. */
  token: Token;
  /** How often a request is sent at most. */
  tries?: number;
  /** How long a stream that broke off is asked for again. */
  resumeSeconds?: number;
  fetch?: (request: Request) => Promise<Response>;
}

export interface Said {
  /** Left out by an end user who begins a conversation: the answer names it. */
  conversationId?: string;
  /** Left out by an end user, whose token says it. */
  userId?: string;
  metadata?: Record<string, unknown>;
  /** A name for this prompt that you keep; else one is made. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** A server, spoken to with one credential. */
export class Gigachat {
  /** Every route; what fails is in `error`, after the tries that may help. */
  readonly api: Client<paths, `application/${string}`>;
  readonly #sender: Sender;
  readonly #url: string;
  readonly #resumeMs: number;

  constructor({ url, token, tries = 3, resumeSeconds = 60, fetch = (request) => globalThis.fetch(request) }: Options) {
    this.#url = url.replace(/\/+$/, "");
    this.#sender = new Sender(token, tries, fetch);
    this.#resumeMs = resumeSeconds * 1000;
    this.api = createClient<paths, `application/${string}`>({ baseUrl: this.#url, fetch: this.#sender.send });
  }

  /** Say something: the newest messages, which are the replies, or yours where there is none. Throws `ApiError`, `NoAnswer`. */
  async say(chatbotId: string, prompt: string, said: Said = {}): Promise<Message[]> {
    const response = await this.#sender.send(this.#prompt(chatbotId, prompt, said));
    if (!response.ok) throw new ApiError(await problemOf(response));
    return (await bodyOf(response)) as Message[];
  }

  /** The same, word by word. Once it is there, the prompt is stored. */
  async sayStream(chatbotId: string, prompt: string, said: Said = {}): Promise<Turn> {
    const options = { place: "", resumeMs: this.#resumeMs, mostErrors: 2, signal: said.signal };
    return Turn.begin(events(this.#sender, this.#prompt(chatbotId, prompt, said), options));
  }

  /**
   * What happens, for as long as you listen: in a conversation every event and every word, or all events of a chatbot.
   * A conversation is told from its first event, or from behind `after`; a chatbot from now on. Nothing comes twice.
   */
  async *follow(
    chatbotId: string,
    { conversationId, after = "", signal }: { conversationId?: string; after?: string; signal?: AbortSignal } = {},
  ): AsyncGenerator<Event | Delta> {
    const below = conversationId === undefined ? "" : `/conversations/${encodeURIComponent(conversationId)}`;
    const request = new Request(`${this.#url}/chatbots/${encodeURIComponent(chatbotId)}${below}/events?embedding=false`);
    const seen = new Set<string>();
    const options = { place: after, resumeMs: Infinity, mostErrors: Infinity, signal };
    for await (const { name, data } of events(this.#sender, request, options)) {
      if (name === "delta") yield data as Delta;
      if (!name.includes(".")) continue; // of a later version
      const event = data as Event;
      const key = `${event.seq} ${event.conversation_id}`;
      if (seen.has(key)) continue;
      seen.add(key);
      for (const oldest of seen) if (seen.size > 2000) seen.delete(oldest);
      yield event;
    }
  }

  /** The entries of a list, page by page: `pages((query) => client.api.GET("/chatbots", { params: { query } }))`. */
  async *pages<L extends readonly unknown[]>(
    page: (query: { limit: number; after?: string }) => Promise<{ data?: L; error?: unknown; response: Response }>,
  ): AsyncGenerator<Awaited<L[number]>> {
    for (let after: string | undefined = ""; after !== undefined; ) {
      const { data, error, response } = await page(after ? { limit: 100, after } : { limit: 100 });
      if (data === undefined) throw new ApiError(error as ApiError["problem"]);
      yield* data as readonly Awaited<L[number]>[];
      const next: string | undefined = /<([^>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1];
      after = next === undefined ? undefined : (new URL(next, this.#url).searchParams.get("after") ?? undefined);
    }
  }

  #prompt(chatbotId: string, prompt: string, { conversationId, userId, metadata, idempotencyKey, signal }: Said): Request {
    const body = { conversation_id: conversationId, user_id: userId, prompt, ...(metadata && { metadata }) };
    return new Request(`${this.#url}/chatbots/${encodeURIComponent(chatbotId)}/conversations?embedding=false`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(idempotencyKey && { "Idempotency-Key": idempotencyKey }) },
      body: JSON.stringify(body),
      signal: signal ?? null,
    });
  }
}

/**
 * A reply as it is made. What was streamed is provisional: `messages` is the truth, once `text` has ended. If the server died,
 * the reply may be made again with other words: then `soFar` begins anew.
 */
export class Turn {
  /** Undefined only where the chatbot does not stream. */
  prompt: Message | undefined;
  /** The reply as far as it is known. With alternatives, the first of them. */
  soFar = "";
  messages: Message[] = [];
  /** The words of the reply that are still to come, piece by piece. */
  readonly text: AsyncGenerator<string>;
  #lengths = new Map<string, number>(); // in characters, as the server counts them: not those of a JavaScript string
  #shownId = "";

  private constructor(source: AsyncGenerator<ServerEvent>) {
    this.text = this.#read(source);
  }

  static async begin(source: AsyncGenerator<ServerEvent>): Promise<Turn> {
    const turn = new Turn(source);
    const first = await source.next();
    if (!first.done) turn.#take(first.value);
    return turn;
  }

  /** The stored reply; undefined before its end, or where an operator answers. */
  get reply(): Message | undefined {
    return this.messages.find((message) => message.in_reply_to !== null);
  }

  /** Waits for the end. */
  async finish(): Promise<Message[]> {
    for await (const _ of this.text);
    return this.messages;
  }

  async *#read(source: AsyncGenerator<ServerEvent>): AsyncGenerator<string> {
    if (this.soFar) yield this.soFar;
    for await (const event of source) {
      const text = this.#take(event);
      if (text) yield text;
    }
  }

  #take({ name, data }: ServerEvent): string {
    if (name === "start") this.#begin(data as components["schemas"]["StreamStart"]);
    if (name === "delta") return this.#add(data as Delta);
    if (name === "message") return this.#store(data as Message);
    if (name === "json") return (data as Message[]).map((message) => this.#store(message)).join("");
    return "";
  }

  #begin({ prompt, message_ids }: components["schemas"]["StreamStart"]): void {
    [this.prompt, this.messages, this.#shownId] = [prompt, [], message_ids[0] ?? ""];
    if (this.#lengths.size && !this.#lengths.has(this.#shownId)) [this.soFar, this.#lengths] = ["", new Map()];
  }

  #add({ message_id, offset, text }: Delta): string {
    const [known, characters] = [this.#lengths.get(message_id) ?? 0, Array.from(text)];
    this.#lengths.set(message_id, Math.max(known, offset + characters.length));
    if (!this.soFar && !this.#lengths.has(this.#shownId)) this.#shownId = message_id; // in the reply to a later prompt
    if (message_id !== this.#shownId) return "";
    const added = characters.slice(Math.max(0, known - offset)).join("");
    this.soFar += added;
    return added;
  }

  #store(message: Message): string {
    const isFirstReply = message.in_reply_to !== null && this.reply === undefined;
    this.messages.push(message);
    if (!isFirstReply) return "";
    const rest = message.content.startsWith(this.soFar) ? message.content.slice(this.soFar.length) : "";
    this.soFar = message.content;
    return rest;
  }
}
