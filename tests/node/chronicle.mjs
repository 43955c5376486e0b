// Does one thing as a client of chronicle's and prints what it saw, one JSON value a line.
//
//   node chronicle.mjs THING URL MODULE
//
// MODULE: chronicle's npm package, or what makes the same calls.
import OpenAI from "openai";

const [thing, url, module] = process.argv.slice(2);
const { createChronicleClient, fetchChronicle, runStep, startRun } = await import(module);
const print = (value) => console.log(JSON.stringify(value));

const metadata = { application: "shop", environment: "test", colour: "red" };
const client = createChronicleClient({ url, token: "for-the-gateway", defaults: { metadata } });
const messages = [{ role: "user", content: "Hello" }];
const chat = { model: "openai/gpt-5.4-mini", max_tokens: 64, messages };

async function caught(work) {
  try {
    await work();
  } catch (error) {
    print({ error: error.message });
  }
}

async function printChunks(asked) {
  for await (const { choices, meta, usage } of await client({ ...asked, stream: true })) {
    print({ content: choices[0]?.delta.content ?? null, meta, usage: usage?.total_tokens });
  }
}

const things = {
  chat: async () => print(await client(chat, { timeout: 9000, metadata: { workflow_id: "w" } })),

  stream: () => printChunks({ ...chat, model: "claude-sonnet-5" }),

  error: () => caught(() => client(chat)),

  unknown: () => caught(() => client({ ...chat, provider: "nobody" })),

  streamError: () => caught(() => printChunks(chat)),

  async wrapped() {
    const defaults = { model: "openai/gpt-5.4-mini", retry: { max_tries: 1 }, metadata: { user_id: "u", extra: { a: 1 } } };
    const openai = new OpenAI({ apiKey: "unused", fetch: fetchChronicle({ url, defaults }) });
    print(await openai.chat.completions.create({ model: "other", messages }));
  },

  async run() {
    const { id, output } = await startRun({ name: "night", input: { a: 1 }, chronicle: client }, () =>
      runStep({ name: "outer", type: "task" }, async ({ chronicle }) => {
        const first = (await chronicle(chat)).meta.id;
        await runStep({ name: "fails", type: "check" }, async () => { throw new Error("not today"); }).catch(() => {});
        return [first, await runStep({ name: "inner", type: "ask", input: "x" }, async () => (await chronicle(chat)).meta.id)];
      }));
    print({ id, chats: output });
  },
};

await things[thing]();
