// An application with OpenTelemetry's npm packages: one order, one call through the gateway, its own spans as JSON.
// Prints the trace's id.
//
//   node application.mjs URL COMPRESSION
import { SpanKind, SpanStatusCode, context, propagation, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import OpenAI from "openai";

const [url, compression] = process.argv.slice(2);
const exporter = new OTLPTraceExporter({ url: `${url}/v1/traces`, compression });
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "node-shop" }),
  spanProcessors: [new BatchSpanProcessor(exporter)],
});
provider.register();

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "sk-x", maxRetries: 0 });
const attributes = { whole: 3, part: 1.5, large: 2 ** 60, many: [1, 2], cut: "a smile \ud83d" };
const tracer = trace.getTracer("shop", "3.1");
await tracer.startActiveSpan("POST /orders", { kind: SpanKind.SERVER, attributes }, async (root) => {
  const headers = {};
  propagation.inject(context.active(), headers);
  const messages = [{ role: "user", content: "Hello" }];
  await client.chat.completions.create({ model: "gpt-5", messages }, { headers });
  root.addEvent("answered", { chunks: 1 });
  root.setStatus({ code: SpanStatusCode.ERROR, message: "out of stock" });
  root.end();
  console.log(root.spanContext().traceId);
});
await provider.shutdown();
