// OpenTelemetry's browser SDK as an application would set it up, beside the beacon: fetch and XHR are
// instrumented, and the beacon's own posts are left out, as the migration note says.
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { registerInstrumentations } from "@opentelemetry/instrumentation";
import { FetchInstrumentation } from "@opentelemetry/instrumentation-fetch";
import { XMLHttpRequestInstrumentation } from "@opentelemetry/instrumentation-xml-http-request";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { WebTracerProvider } from "@opentelemetry/sdk-trace-web";

const provider = new WebTracerProvider({
  // The default says which SDK this is, by which the collector knows a browser.
  resource: defaultResource().merge(resourceFromAttributes({ "service.name": "storefront" })),
  // A fifth of a second, not the default five: the test asks soon after it happened.
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: "/v1/traces" }), { scheduledDelayMillis: 200 })],
});
provider.register();
const ignoreUrls = [/\/v1\/ethogram/, /\/v1\/traces/];
registerInstrumentations({
  tracerProvider: provider,
  instrumentations: [new FetchInstrumentation({ ignoreUrls }), new XMLHttpRequestInstrumentation({ ignoreUrls })],
});
