// Server-Sent Events over as many connections as it takes.
import { ApiError, bodyOf, isPassing, newKey, NoAnswer, pause, problemOf, waitMs, type Problem, type Sender } from "./sending.js";

export interface ServerEvent {
  name: string;
  data: unknown;
  /** The `id:` from which a stream goes on behind this event. */
  place: string;
}

const SILENCE_MS = 45_000; // a ping comes every 15 s

/** Takes what arrives, however it is cut, and gives the events that are whole. Lines end with "\n" or "\r\n" alone. */
export class EventParser {
  #rest = "";
  #event = { name: "", data: "", place: "" };
  readonly #decoder = new TextDecoder();

  *feed(piece: Uint8Array): Generator<ServerEvent> {
    const lines = (this.#rest + this.#decoder.decode(piece, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines.map((each) => each.replace(/\r$/, ""))) {
      if (line === "") {
        if (this.#event.data) yield { ...this.#event, data: JSON.parse(this.#event.data) as unknown };
        this.#event = { name: "", data: "", place: "" };
      } else if (line.startsWith("event: ")) this.#event.name = line.slice(7);
      else if (line.startsWith("data: ")) this.#event.data += line.slice(6);
      else if (line.startsWith("id: ")) this.#event.place = line.slice(4);
    }
  }
}

export interface StreamOptions {
  place: string;
  /** How long to ask again while nothing new comes. */
  resumeMs: number;
  /** How many errors that pass may be told before the last one is thrown. */
  mostErrors: number;
  signal?: AbortSignal | undefined;
}

/** The events of a stream until `done`. One that breaks off goes on behind its last `id:`. JSON instead is one event `json`. */
export async function* events(sender: Sender, request: Request, options: StreamOptions): AsyncGenerator<ServerEvent> {
  let { place } = options;
  let [hasBegun, hasNewToken, number, waitedMs, errors] = [false, false, 0, 0, 0];
  if (request.method === "POST" && !request.headers.has("Idempotency-Key"))
    request.headers.set("Idempotency-Key", newKey());
  for (;;) {
    let failure: Error = new NoAnswer(`The stream of ${request.url} broke off.`, true);
    try {
      for await (const event of connection(sender, request, place, options.signal)) {
        if (event.name === "error") {
          errors += 1;
          throw new ApiError(event.data as Problem);
        }
        hasBegun = true;
        // A start comes again with every connection, and is no news then.
        if (event.name !== "start" || !place)
          [place, hasNewToken, number, waitedMs] = [event.place || place, false, 0, 0];
        yield event;
        if (event.name === "done" || event.name === "json") return;
      }
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof ApiError || error instanceof NoAnswer)) throw error;
      if (error instanceof ApiError && error.code === "token_expired" && !hasNewToken && sender.forget()) {
        hasNewToken = true;
        continue;
      }
      hasBegun ||= error instanceof NoAnswer && error.wasSent;
      const isOver = error instanceof ApiError && !isPassing(error.status, error.code);
      if (isOver || !hasBegun || errors > options.mostErrors) throw error;
      failure = error;
    }
    const ms = waitMs(number, 0.5 + Math.random() / 2) ?? 0;
    [number, waitedMs] = [number + 1, waitedMs + ms];
    if (waitedMs > options.resumeMs) throw failure;
    await pause(ms, options.signal);
  }
}

/** The events of one connection. It ends where that does, for whatever reason. */
async function* connection(
  sender: Sender,
  request: Request,
  place: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ServerEvent> {
  const leaving = new AbortController();
  const asked = new Request(request.clone(), { signal: AbortSignal.any([leaving.signal, ...(signal ? [signal] : [])]) });
  asked.headers.set("Accept", "text/event-stream");
  if (place) asked.headers.set("Last-Event-ID", place);
  const response = await sender.send(asked);
  if (!response.ok) throw new ApiError(await problemOf(response));
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    yield { name: "json", data: await bodyOf(response), place: "" };
    return;
  }
  const parser = new EventParser();
  const reader = (response.body ?? new ReadableStream<Uint8Array>()).getReader();
  let silence = setTimeout(() => leaving.abort(), SILENCE_MS);
  try {
    for (;;) {
      const piece = await reader.read().catch(() => undefined);
      if (piece === undefined || piece.done) return;
      clearTimeout(silence);
      silence = setTimeout(() => leaving.abort(), SILENCE_MS);
      yield* parser.feed(piece.value);
    }
  } finally {
    clearTimeout(silence);
    leaving.abort();
  }
}
