// What an agent does with the TypeScript SDK, unmodified: `node agent.mjs URL KEY PACKAGE MODE`, where PACKAGE is `sdk` (v1) or
// `client` (v2), and MODE the latter's version negotiation.
const [url, key, name, mode] = process.argv.slice(2);
const v1 = name === "sdk";
const { Client } = await import(v1 ? "@modelcontextprotocol/sdk/client/index.js" : "@modelcontextprotocol/client");
const { StreamableHTTPClientTransport } = await import(
  v1 ? "@modelcontextprotocol/sdk/client/streamableHttp.js" : "@modelcontextprotocol/client"
);

const client = new Client({ name: "agent", version: "1" }, v1 || mode === "default" ? {} : { versionNegotiation: { mode } });
const requestInit = { headers: { Authorization: `Bearer ${key}` } };
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
await client.connect(transport);

const call = (params, options) => (v1 ? client.callTool(params, undefined, options) : client.callTool(params, options));
const words = [];
const { tools } = await client.listTools();
const pushed = await call({ name: "push_document", arguments: { name: "hours.md", content: "The museum opens at nine." } });
const asked = await call(
  { name: "ask", arguments: { prompt: "Hello", conversation_id: "c1" } },
  { onprogress: (progress) => words.push(progress.message) },
);
const once = { name: "ask", arguments: { prompt: "Once" }, _meta: { "gigachat/idempotencyKey": "k" } };
const again = [await call(once), await call(once)].map((each) => JSON.stringify(each.structuredContent));
const failed = await call({ name: "read_conversation", arguments: { conversation_id: "none" } });
const refused = await call({ name: "no_tool", arguments: {} }).then(
  () => 0,
  (error) => error.code,
);
const [resource] = (await client.listResources()).resources;
const [content] = (await client.readResource({ uri: resource.uri })).contents;
console.log(
  JSON.stringify({
    version: v1 ? transport.protocolVersion : client.getNegotiatedProtocolVersion(),
    server: client.getServerVersion().name,
    tools: tools.map((tool) => tool.name),
    document: pushed.structuredContent.name,
    reply: asked.structuredContent.messages[0].content,
    progress: words.join(""),
    once: again[0] === again[1],
    failed: [failed.isError, JSON.parse(failed.content[0].text).code],
    refused,
    resource: [resource.name, content.text],
  }),
);
await client.close();
