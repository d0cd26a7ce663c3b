// Sends requests until they are answered. Every POST carries an Idempotency-Key, so whatever became of an earlier try,
// another one changes nothing twice.
import type { components } from "./api.js";

export type Problem = components["schemas"]["Problem"];
export type Token = string | (() => string | Promise<string>);

/** The server's answer is a problem. `code` never changes its meaning; the texts are for people. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  constructor(readonly problem: Problem) {
    super(`${problem.code}: ${problem.detail}`);
    this.name = "ApiError";
    this.code = problem.code;
    this.status = problem.status;
  }
}

/** Nothing answered, or the answer broke off, as often as it was tried. `wasSent`: the server may have heard the request. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
  constructor(
    message: string,
    readonly wasSent: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const PASSING = new Set([408, 429, 502, 503, 504]);
const NEVER_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"]); // Node; browsers do not say
const LONGEST_WAIT_MS = 60_000;

/** Whether the same request may succeed in a moment. */
export function isPassing(status: number, code: string): boolean {
  return PASSING.has(status) || code === "idempotency_in_progress";
}

/** How long to wait after try `number`, from 0; undefined if the server names a time that is too long to wait for. */
export function waitMs(number: number, chance: number, retryAfter: string | null = null): number | undefined {
  if (retryAfter !== null && /^\d+$/.test(retryAfter)) {
    const askedMs = Number(retryAfter) * 1000;
    return askedMs > LONGEST_WAIT_MS ? undefined : askedMs;
  }
  return chance * Math.min(500 * 2 ** number, 8000);
}

/** A UUID. Browsers have `crypto.randomUUID` only in pages that came by https. */
export function newKey(): string {
  const hex = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, "$1-$2-4$3-a$4-$5");
}

export const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const stop = () => (clearTimeout(timer), reject(signal?.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), resolve()), ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });

/** A problem, whatever answered: a proxy's page is one of the code `unexpected_answer`. */
export async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  try {
    const said = JSON.parse(text) as Problem;
    if (typeof said.code === "string") return said;
  } catch {
    // not JSON
  }
  const detail = `HTTP ${response.status}: ${text.slice(0, 200)}`;
  const rest = { type: "about:blank", instance: "", request_id: "", code: "unexpected_answer" };
  return { ...rest, title: "What answered does not speak this API.", status: response.status, detail };
}

/** Read to its end, so that one which breaks off is no answer. A stream of events is left to those who follow it. */
async function whole(response: Response): Promise<Response> {
  if (response.body === null || response.headers.get("Content-Type")?.startsWith("text/event-stream")) return response;
  const { status, statusText, headers } = response;
  return new Response(await response.arrayBuffer(), { status, statusText, headers });
}

/** What a successful answer holds. Throws `ApiError` where something else answered. */
export async function bodyOf(response: Response): Promise<unknown> {
  const told = response.clone();
  return response.json().catch(async () => {
    throw new ApiError(await problemOf(told));
  });
}

/** A `fetch` that authorises, keys and repeats requests. It gives whatever answer there is once no other try may help. */
export class Sender {
  #token: string | undefined;

  constructor(
    readonly token: Token,
    readonly tries: number,
    readonly fetching: (request: Request) => Promise<Response>,
  ) {}

  readonly send = async (request: Request): Promise<Response> => {
    if (request.method === "POST" && !request.headers.has("Idempotency-Key"))
      request.headers.set("Idempotency-Key", newKey());
    const isRepeatable = !(request.method === "POST" && new URL(request.url).pathname.endsWith("/api-keys"));
    let [wasSent, hasNewToken] = [false, false];
    for (let number = 0; ; ) {
      request.headers.set("Authorization", `Bearer ${(this.#token ??= await this.#ask())}`);
      let response: Response | undefined;
      let failure: unknown;
      try {
        response = await whole(await this.fetching(request.clone()));
      } catch (error) {
        request.signal.throwIfAborted();
        failure = error;
        wasSent ||= !NEVER_SENT.has((error as { cause?: { code?: string } }).cause?.code ?? "");
      }
      if (response?.ok) return response;
      if (response?.status === 404 && request.method === "DELETE" && wasSent) return new Response(null, { status: 204 });
      if (response !== undefined) {
        const { code } = await problemOf(response.clone());
        if (code === "token_expired" && !hasNewToken && this.forget()) {
          hasNewToken = true;
          continue;
        }
        if (!isPassing(response.status, code)) return response;
      }
      const ms = waitMs(number, Math.random(), response?.headers.get("Retry-After"));
      number += 1;
      if (number >= this.tries || ms === undefined || (!isRepeatable && (wasSent || response !== undefined))) {
        if (response !== undefined) return response;
        throw new NoAnswer(`${request.method} ${request.url}: ${String(failure)}`, wasSent, { cause: failure });
      }
      await pause(ms, request.signal);
    }
  };

  /** Whether there is a function that may give another token, which the next request then asks. */
  forget(): boolean {
    this.#token = undefined;
    return typeof this.token === "function";
  }

  async #ask(): Promise<string> {
    return typeof this.token === "function" ? this.token() : this.token;
  }
}
