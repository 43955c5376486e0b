// Does one thing with OpenAI's npm package and prints what it saw, one JSON value a line.
//
//   node driver.mjs THING BASE_URL KEY
import OpenAI from "openai";

const [thing, baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const print = (value) => console.log(JSON.stringify(value));

const messages = [{ role: "user", content: "Hello" }];
const chat = { model: "gpt-5.4-mini", messages };
const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ type: "function", function: { name: "get_weather", parameters } }];

async function printChunks(options) {
  for await (const chunk of await client.chat.completions.create({ ...chat, stream: true, ...options })) {
    print({ content: chunk.choices[0]?.delta.content ?? null, usage: chunk.usage?.total_tokens ?? null });
  }
}

const things = {
  async chat() {
    const { data, response, request_id } = await client.chat.completions.create(chat).withResponse();
    print({ data, request_id, trace: response.headers.get("x-gateway-trace-id") });
  },

  stream: () => printChunks({}),

  streamWithUsage: () => printChunks({ stream_options: { include_usage: true } }),

  async tools() {
    const whole = await client.chat.completions.create({ ...chat, tools });
    print(whole.choices[0].message.tool_calls);
    const streamed = client.chat.completions.stream({ ...chat, tools });
    print((await streamed.finalChatCompletion()).choices[0].message.tool_calls);
  },

  async responses() {
    print((await client.responses.create({ model: "gpt-5.4", input: "Hello" })).output_text);
    const types = [];
    const streamed = client.responses.stream({ model: "gpt-5.4", input: "Hello" });
    for await (const event of streamed) types.push(event.type);
    print({ types, text: (await streamed.finalResponse()).output_text });
  },

  async embeddings() {
    const { data } = await client.embeddings.create({ model: "text-embedding-3-small", input: "tide" });
    print(data[0].embedding);
  },

  async relayed() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    print(ids);
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    print(await client.files.create({ file: new File([bytes], "a.jsonl"), purpose: "batch" }));
  },

  async error() {
    try {
      await client.chat.completions.create(chat);
    } catch (error) {
      const { status, code, type, param, requestID, headers } = error;
      const [shouldRetry, trace] = [headers.get("x-should-retry"), headers.get("x-gateway-trace-id")];
      print({ name: error.constructor.name, status, code, type, param, requestID, error: error.error, shouldRetry, trace });
    }
  },

  async streamError() {
    try {
      await printChunks({});
    } catch (error) {
      print({ name: error.constructor.name, message: error.message });
    }
  },

  // Stays until its standard input ends, so that it is the abort that closes the connection.
  async abort() {
    const controller = new AbortController();
    const stream = await client.chat.completions.create({ ...chat, stream: true }, { signal: controller.signal });
    for await (const chunk of stream) {
      if (chunk.choices[0].delta.content.includes("東京")) controller.abort();
    }
    print({ aborted: stream.controller.signal.aborted });
    for await (const _ of process.stdin);
  },

  async timeout() {
    try {
      await client.chat.completions.create(chat, { timeout: 1000, maxRetries: 0 });
    } catch (error) {
      print({ name: error.constructor.name });
    }
    for await (const _ of process.stdin);
  },
};

await things[thing]();
