// The real OpenTelemetry Node SDK, as a service would set it up. Import it before node:http is used.
import { createRequire } from "node:module";
import { trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { registerInstrumentations } from "@opentelemetry/instrumentation";
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http";
import { RedisInstrumentation } from "@opentelemetry/instrumentation-redis";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

/** Starts tracing for a service; `isTraced` tells which paths are its own work. */
export function startTracing(service, isTraced = () => true) {
  const exporter = new OTLPTraceExporter({ url: process.env.OTEL_EXPORTER_OTLP_ENDPOINT + "/v1/traces" });
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ "service.name": service, "service.version": "1.0.0", "deployment.environment.name": "test" }),
    // A fifth of a second, not the default five: the story is asked about soon after it happened.
    spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 200 })],
  });
  provider.register();
  registerInstrumentations({
    tracerProvider: provider,
    instrumentations: [
      new HttpInstrumentation({
        ignoreIncomingRequestHook: (request) => !isTraced(request.url),
        ignoreOutgoingRequestHook: (options) => !isTraced(options.path || "/"),
      }),
      // A connection belongs to no request.
      new RedisInstrumentation({ requireParentSpan: true }),
    ],
  });
  const end = () => provider.shutdown().finally(() => process.exit(0));
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  // What comes through it is what the instrumentations wrap.
  return { require: createRequire(import.meta.url) };
}

/** What a web framework does: names the route the request was matched to. */
export function nameRoute(method, route) {
  const span = trace.getActiveSpan();
  span?.setAttribute("http.route", route);
  span?.updateName(`${method} ${route}`);
}

/** Listens on a free port and says where, as one line of JSON. */
export function announce(server) {
  server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ address: `http://127.0.0.1:${server.address().port}` })));
}
