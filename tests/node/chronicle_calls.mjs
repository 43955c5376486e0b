// Makes the calls that chronicle's npm client makes, byte for byte but for ids and times: what the tests drive where that
// package cannot be had. Only what they need of it.
import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";

const JSON_TYPE = "application/json; charset=utf-8";
const running = new AsyncLocalStorage();

function chatUrl(configured, path = "/chat") {
  const url = new URL(configured);
  if (url.pathname.length <= 1) url.pathname = path;
  return url;
}

async function problem(response) {
  const text = await response.text();
  let body;
  try {
    body = JSON.parse(text).error?.details.body;
  } catch {
    return text;
  }
  body = body?.error || body;
  return (typeof body === "string" ? body : JSON.stringify(body)) || "An error occurred";
}

// An event is taken when a byte has come after its blank line, or the stream has ended.
async function* eventsOf(response) {
  const decoder = new TextDecoder();
  let held = "";
  for await (const piece of response.body) {
    held += decoder.decode(piece, { stream: true });
    for (let at = held.indexOf("\n\n"); at >= 0 && at < held.length - 2; at = held.indexOf("\n\n")) {
      yield held.slice(0, at);
      held = held.slice(at + 2);
    }
  }
  if (held.trim()) yield held;
}

async function* chunksOf(response) {
  for await (const event of eventsOf(response)) {
    const fields = event.split("\n").map((line) => line.split(/: ?(.*)/s));
    const data = fields.filter(([name]) => name === "data").map(([, value]) => value).join("\n");
    if (!data) continue;
    if (data.startsWith("[DONE]")) return;
    const said = JSON.parse(data);
    const failed = fields.some(([name, value]) => name === "event" && value === "error");
    if (failed || said.error) throw new Error(said.error?.message ?? said.message ?? JSON.stringify(said.error));
    yield said;
  }
}

const queues = new Map();

function enqueue(url, events) {
  const queue = queues.get(url) ?? [];
  queues.set(url, queue);
  if (!queue.length) {
    setTimeout(async () => {
      const body = JSON.stringify({ events: queue.splice(0) });
      const response = await fetch(url, { method: "POST", headers: { "content-type": JSON_TYPE }, body });
      if (!response.ok) console.error(await problem(response));
    }, 50);
  }
  queue.push(...events);
}

export function createChronicleClient({ url, token, defaults = {} }) {
  const to = chatUrl(url);
  const client = async (chat, options = {}) => {
    const metadata = { ...defaults.metadata, ...chat.metadata, ...options.metadata };
    metadata.run_id ??= running.getStore()?.runId;
    metadata.step_id ??= running.getStore()?.stepId;
    const headers = { "content-type": JSON_TYPE, accept: chat.stream ? "text/event-stream; charset=utf-8" : JSON_TYPE };
    if (token) headers.Authorization = `Bearer ${token}`;
    const body = JSON.stringify({ ...defaults, ...chat, ...options, metadata });
    const response = await fetch(to, { method: "POST", headers, body });
    if (!response.ok) throw new Error(await problem(response));
    return chat.stream ? chunksOf(response) : response.json();
  };
  client.requestOptions = defaults;
  client.event = (events) => enqueue(chatUrl(new URL("/events", to), "/events").toString(), [events].flat());
  return client;
}

export function fetchChronicle({ url, defaults = {} }) {
  const { metadata = {}, ...options } = defaults;
  return (asked, init) => {
    const request = new Request(chatUrl(url), new Request(asked, init));
    const set = (name, value) => {
      const text = typeof value === "object" ? JSON.stringify(value) : value;
      if (value !== undefined) request.headers.set(`x-chronicle-${name.replaceAll("_", "-")}`, text);
    };
    for (const [name, value] of Object.entries(options)) set(name === "api_key" ? "provider-api-key" : name, value);
    for (const [name, value] of Object.entries(metadata)) set(name === "extra" ? "extra-meta" : name, value);
    return fetch(request);
  };
}

export async function startRun(options, work) {
  const { chronicle, name = "", runId: id = randomUUID(), metadata: _, ...told } = options;
  const { application, environment } = { ...chronicle.requestOptions.metadata, ...told };
  chronicle.event({ type: "run:start", id, name, ...told, application, environment, time: new Date() });
  return running.run({ runId: id, chronicle }, async () => {
    const ended = (status, output) => chronicle.event({ type: "run:update", id, output, status, time: new Date() });
    try {
      const output = await work(running.getStore());
      ended("finished", output);
      return { id, output, info: undefined };
    } catch (error) {
      ended("error", error);
      throw error;
    }
  });
}

export async function runStep({ name, type, input, tags, info }, work) {
  const { runId, stepId: parent_step, chronicle } = running.getStore();
  const stepId = randomUUID();
  const tell = (what, data) =>
    chronicle.event({ type: what, step_id: stepId, run_id: runId, time: new Date(), data });
  return running.run({ runId, stepId, chronicle }, async () => {
    tell("step:start", { name, type, input, tags, info, parent_step });
    try {
      const output = await work(running.getStore());
      tell("step:end", { output });
      return output;
    } catch (error) {
      tell("step:error", { error: { message: error.message, stack: error.stack } });
      throw error;
    }
  });
}
