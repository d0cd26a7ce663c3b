// When requests are sent again: scripted answers in, what was sent out. Run as `repeat.js`.
import { ApiError, Gigachat, NoAnswer } from "./client.js";
import { EventParser } from "./streams.js";

declare const process: { stdout: { write(text: string): void } };

type Answer = Response | Error;
const problem = (code: string, status: number, headers: Record<string, string> = {}) => {
  const told = { type: "", title: "T", status, detail: "D", instance: "", code, request_id: "r" };
  return new Response(JSON.stringify(told), { status, headers });
};
const stream = (content: string) => new Response(content, { headers: { "Content-Type": "text/event-stream" } });
const said = { conversationId: "c", userId: "ann" };

async function played(answers: Answer[], call: (client: Gigachat) => Promise<unknown>, tokens = ["gca_key"]) {
  const requests: { key: string | null; token: string | null; place: string | null; body: string }[] = [];
  const fetch = async (request: Request) => {
    const { headers } = request;
    const [key, token, place] = ["Idempotency-Key", "Authorization", "Last-Event-ID"].map((name) => headers.get(name));
    requests.push({ key: key ?? null, token: token ?? null, place: place ?? null, body: await request.text() });
    const answer = answers.shift();
    if (answer === undefined) throw new Error("nothing more is scripted");
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const token = tokens.length > 1 ? () => tokens.shift() ?? "none" : (tokens[0] ?? "");
  let outcome: unknown;
  try {
    outcome = await call(new Gigachat({ url: "http://test", token, fetch }));
  } catch (error) {
    outcome = error instanceof ApiError ? error.code : error instanceof NoAnswer ? "no answer" : String(error);
  }
  return { outcome, sent: requests.length, keys: new Set(requests.map(({ key }) => key)).size, requests };
}

const cut = new TypeError("fetch failed");
const half = () => {
  const [begin, fail] = [new TextEncoder().encode("[{"), new TypeError("terminated")];
  return new Response(new ReadableStream({ start: (body) => body.enqueue(begin), pull: (body) => body.error(fail) }), { status: 201 });
};
const page = () => new Response("<h1>Log in</h1>", { headers: { "Content-Type": "text/html" } });
const ok = () => new Response("[]", { status: 201 });
const say = (client: Gigachat) => client.say("b", "Hi", said);
const results: Record<string, unknown> = {};
for (const [name, answer] of Object.entries({
  408: () => problem("request_timeout", 408),
  429: () => problem("upstream_rate_limited", 429),
  502: () => new Response("<h1>Bad gateway</h1>", { status: 502 }),
  503: () => problem("of_a_later_version", 503, { "Retry-After": "0" }),
  504: () => problem("upstream_timeout", 504),
  409: () => problem("idempotency_in_progress", 409),
  cut: () => cut,
  half,
})) {
  const { outcome, sent, keys, requests } = await played([answer(), answer(), ok()], say);
  results[name] = [Array.isArray(outcome), sent, keys, requests[0]?.key?.length, new Set(requests.map((each) => each.body)).size];
  results[`${name}, always`] = (await played([answer(), answer(), answer()], say)).sent;
}
for (const [code, status] of [["conversation_busy", 409], ["not_found", 404], ["internal_error", 500]] as const)
  results[code] = (({ outcome, sent }) => [outcome, sent])(await played([problem(code, status)], say));
results.late = (({ outcome, sent }) => [outcome, sent])(await played([problem("shutting_down", 503, { "Retry-After": "61" })], say));
results.foreign = [(await played([page()], say)).outcome, (await played([page()], (client) => client.sayStream("b", "Hi", said))).outcome];
const refused = () => new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } });
const stay = (client: Gigachat) => client.sayStream("b", "Hi", said);
results.refused = (await played([refused(), refused(), refused()], stay)).sent;
const create = (client: Gigachat) => client.api.POST("/api-keys", { body: { name: "ci" } });
results.secret = (await played([cut], create)).sent;
results.secrets = (await played([refused(), refused(), refused()], create)).sent;
const expired = problem("token_expired", 401);
results.tokens = (await played([expired, ok()], say, ["one", "two"])).requests.map(({ token }) => token);
results.expired = (await played([problem("token_expired", 401), problem("token_expired", 401)], say, ["1", "2", "3"])).outcome;
const remove = (client: Gigachat) =>
  client.api.DELETE("/chatbots/{chatbot_id}", { params: { path: { chatbot_id: "b" } } }).then(({ error }) => error?.code ?? "gone");
results.deleted = (await played([cut, problem("not_found", 404)], remove)).outcome;
results.missing = (await played([problem("not_found", 404)], remove)).outcome;
const happened = (seq: number) => `id: ${seq}\nevent: message.created\ndata: {"conversation_id":"c","seq":${seq}}\n\n`;
const followed = await played(
  [stream(happened(1) + happened(2)), stream(happened(2) + happened(3)), stream(`event: error\ndata: ${await problem("not_found", 404).text()}\n\n`)],
  async (client) => {
    const seqs: number[] = [];
    try {
      for await (const event of client.follow("b")) seqs.push("seq" in event ? event.seq : 0);
    } catch (error) {
      return [...seqs, (error as ApiError).code];
    }
    return seqs;
  },
);
results.followed = [followed.outcome, followed.requests.map(({ place }) => place)];

const text = JSON.stringify("ü\u2028🙂 ");
const bytes = new TextEncoder().encode(`: ping\n\nid: 3\nevent: delta\ndata: ${text}\n\nid: 4\r\nevent: done\r\ndata: {}\r\n\r\nevent: half`);
const whole = JSON.stringify([...new EventParser().feed(bytes)]);
results.parsed = whole;
results.cuts = [...bytes.keys()].every((place) => {
  const parser = new EventParser();
  return JSON.stringify([...parser.feed(bytes.slice(0, place)), ...parser.feed(bytes.slice(place))]) === whole;
});
process.stdout.write(JSON.stringify(results));
