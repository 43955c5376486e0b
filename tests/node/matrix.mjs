// Asks what it is told to by a line of JSON, with OpenAI's npm package or the Vercel AI SDK, and prints what it saw:
// {delta: [kind, text]} for each piece of a stream as it comes, then {got: ..} or {error: ..}; one JSON value a line.
import { createInterface } from "node:readline";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, Output, streamText, tool } from "ai";
import OpenAI from "openai";
import { Agent, setGlobalDispatcher } from "undici";

globalThis.AI_SDK_LOG_WARNINGS = false;
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const tell = (kind, text) => text && print({ delta: [kind, text] });

// OpenAI's own package: chat completions.

function chatMessages({ system, turns }) {
  const messages = system ? [{ role: "system", content: system }] : [];
  for (const [role, parts] of turns) {
    if (role === "tool") {
      for (const [, id, , text] of parts) messages.push({ role, tool_call_id: id, content: text });
    } else if (role === "assistant") {
      const calls = parts.filter(([kind]) => kind === "call");
      const tool_calls = calls.map(([, id, name, value]) => {
        return { id, type: "function", function: { name, arguments: JSON.stringify(value) } };
      });
      const text = parts.filter(([kind]) => kind === "text").map(([, text]) => text).join("");
      messages.push({ role, content: text || null, ...(tool_calls.length && { tool_calls }) });
    } else {
      const content = parts.map(([kind, ...rest]) =>
        kind === "text"
          ? { type: "text", text: rest[0] }
          : { type: "image_url", image_url: { url: `data:${rest[0]};base64,${rest[1]}` } },
      );
      messages.push({ role, content });
    }
  }
  return messages;
}

async function openai({ url, key, model, asked, stream }) {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
  const body = { model, messages: chatMessages(asked), max_completion_tokens: asked.max_tokens };
  if (asked.temperature !== null) body.temperature = asked.temperature;
  if (asked.stop) body.stop = asked.stop;
  if (asked.thinks) body.reasoning_effort = asked.effort;
  if (asked.tools.length)
    body.tools = asked.tools.map(([name, description, parameters]) => {
      return { type: "function", function: { name, description, parameters } };
    });
  if (asked.choice) body.tool_choice = { any: "required" }[asked.choice] ?? asked.choice;
  if (asked.schema)
    body.response_format = { type: "json_schema", json_schema: { name: "place", schema: asked.schema, strict: true } };
  let whole;
  if (stream) {
    const runner = client.chat.completions.stream({ ...body, stream_options: { include_usage: true } });
    let thought = "";
    for await (const { choices } of runner) {
      const delta = choices[0]?.delta ?? {};
      tell("thought", delta.reasoning_content);
      tell("text", delta.content);
      for (const call of delta.tool_calls ?? []) tell("call", call.function?.arguments);
      thought += delta.reasoning_content ?? "";
    }
    whole = await runner.finalChatCompletion();
    whole.choices[0].message.reasoning_content = thought; // the package keeps the last piece only
  } else whole = await client.chat.completions.create(body);
  const [{ message, finish_reason }] = whole.choices;
  const { usage } = whole;
  return {
    text: message.content ?? "",
    thought: message.reasoning_content ?? "",
    calls: (message.tool_calls ?? []).map((c) => [c.id, c.function.name, JSON.parse(c.function.arguments)]),
    finish: finish_reason,
    usage: [
      usage.prompt_tokens,
      usage.completion_tokens,
      usage.prompt_tokens_details?.cached_tokens ?? null,
      usage.completion_tokens_details?.reasoning_tokens ?? null,
    ],
  };
}

// The Vercel AI SDK.

const modelMessages = (turns) =>
  turns.map(([role, parts]) => ({
    role,
    content: parts.map(([kind, ...rest]) => {
      switch (kind) {
        case "text":
          return { type: "text", text: rest[0] };
        case "image":
          return { type: "image", image: rest[1], mediaType: rest[0] };
        case "call":
          return { type: "tool-call", toolCallId: rest[0], toolName: rest[1], input: rest[2] };
        case "result":
          return { type: "tool-result", toolCallId: rest[0], toolName: rest[1], output: { type: "text", value: rest[2] } };
      }
    }),
  }));

const vercel = (provider, providerOptions) => async ({ url, key, model, asked, stream }) => {
  const options = {
    model: provider({ baseURL: `${url}/v1`, apiKey: key })(model),
    system: asked.system,
    messages: modelMessages(asked.turns),
    maxOutputTokens: asked.max_tokens,
    maxRetries: 0,
    providerOptions: providerOptions(asked),
  };
  if (asked.temperature !== null) options.temperature = asked.temperature;
  if (asked.stop) options.stopSequences = asked.stop;
  if (asked.tools.length)
    options.tools = Object.fromEntries(
      asked.tools.map(([name, description, schema]) => [name, tool({ description, inputSchema: jsonSchema(schema) })]),
    );
  if (asked.choice) options.toolChoice = { any: "required" }[asked.choice] ?? asked.choice;
  if (asked.schema) options.output = Output.object({ schema: jsonSchema(asked.schema) });
  let result;
  if (stream) {
    let problem;
    result = streamText({ ...options, onError: ({ error }) => (problem = error) });
    for await (const part of result.fullStream) {
      if (part.type === "text-delta") tell("text", part.text);
      if (part.type === "reasoning-delta") tell("thought", part.text);
      if (part.type === "tool-input-delta") tell("call", part.delta);
    }
    if (problem) throw problem;
  } else result = await generateText(options);
  const { inputTokens, outputTokens, cachedInputTokens, reasoningTokens } = await result.usage;
  if (asked.schema) await result.output;
  return {
    text: await result.text,
    thought: (await result.reasoningText) ?? "",
    calls: (await result.toolCalls).map((c) => [c.toolCallId, c.toolName, c.input]),
    finish: await result.finishReason,
    usage: [inputTokens ?? null, outputTokens ?? null, cachedInputTokens ?? null, reasoningTokens ?? null],
  };
};

const clients = {
  "node openai": openai,
  "vercel openai": vercel(createOpenAI, ({ thinks, effort }) => ({
    openai: thinks ? { reasoningEffort: effort, reasoningSummary: "auto", forceReasoning: true } : {},
  })),
  "vercel anthropic": vercel(createAnthropic, ({ thinks, budget, schema }) => ({
    anthropic: {
      ...(thinks && { thinking: { type: "enabled", budgetTokens: budget } }),
      ...(schema && { structuredOutputMode: "outputFormat" }),
    },
  })),
};

// What a client threw; what is told in a stream may be thrown as it came.
function thrown(error) {
  const name = error.name === "Error" ? error.constructor.name : error.name ?? "object";
  const { message = JSON.stringify(error), status, statusCode } = error;
  return { error: { name, message, status: status ?? statusCode ?? null } };
}

for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  // No connection outlasts its question: after an abort Node would open another one at once.
  const agent = new Agent();
  setGlobalDispatcher(agent);
  const seen = await clients[told.client](told).then((got) => ({ got }), thrown);
  await agent.destroy();
  print(seen);
}
