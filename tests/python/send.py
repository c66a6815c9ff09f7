"""Sends spans as a service written in Python would, and says which of them were exported.

The last line of standard output is JSON:

    {"created": 350, "exported": [{"trace_id": …, "span_id": …, "parent_span_id": …, "name": …,
     "kind": …, "status": …, "duration_us": …, "attributes": {…}, "resource": {…}}, …]}

Only a span whose batch the exporter answered with SUCCESS counts as exported. Attribute values are
as the SDK held them when it exported them; the doubles that JSON lacks are the words `NaN`,
`Infinity` and `-Infinity`.
"""

import argparse
import json
import math
import threading
import time

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context

# Smaller than the number of spans by far, so that there are many requests.
BATCH_SPANS = 64

# One value of every type that an attribute can have, and the values at the edges of each. None of
# the names means anything to a collector, so all must arrive as they were sent.
EDGES = {
    "text.plain": "cart",
    "text.empty": "",
    "text.number": "7",
    "text.unicode": "Grüße, 買い物かご 🛒",
    "text.quoted": 'a "quoted" \\ text\nof two lines\tand a tab',
    "text.long": "x" * 4_000,
    "key with spaces and 'quotes'": "kept",
    "integer.zero": 0,
    "integer.most": 2**63 - 1,
    "integer.least": -(2**63),
    "double.half": 0.5,
    "double.whole": 3.0,
    "double.great": 1e300,
    "double.small": 2.5e-7,
    "double.nan": math.nan,
    "double.infinity": math.inf,
    "double.minus_infinity": -math.inf,
    "boolean.true": True,
    "boolean.false": False,
    "texts": ["a", 'b "c"', ""],
    "integers": [1, 2, -(2**63)],
    "doubles": [0.25, 4.0, -1.5],
    "booleans": [True, False],
    "nothing": [],
}


class Witness(SpanExporter):
    """Passes batches on to an exporter, and remembers those it answered with SUCCESS."""

    def __init__(self, exporter):
        self.exporter = exporter
        self.exported = []
        self.lock = threading.Lock()

    def export(self, spans):
        result = self.exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            with self.lock:
                self.exported.extend(spans)
        return result

    def shutdown(self):
        self.exporter.shutdown()

    def force_flush(self, timeout_millis=30_000):
        return self.exporter.force_flush(timeout_millis)


def exporter(protocol, endpoint, compression, tls):
    """The real exporter of the protocol, configured as its documentation says."""
    url = f"{'https' if tls else 'http'}://{endpoint}"
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        chosen = {"gzip": Compression.Gzip, "none": Compression.NoCompression}[compression]
        return OTLPSpanExporter(endpoint=url, insecure=not tls, compression=chosen)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    chosen = {"gzip": Compression.Gzip, "none": Compression.NoCompression}[compression]
    return OTLPSpanExporter(endpoint=f"{url}/v1/traces", compression=chosen)


def create(tracer, number, earlier):
    """One trace: a server span, work inside it, calls to others, an event, a link, a failure.

    Returns the server span's context and how many spans there are.
    """
    links = [Link(earlier, {"why": "follows", "number": number})] if earlier else []
    route = {"http.request.method": "POST", "http.route": "/orders/{id}", "order.number": number}
    server = tracer.start_span("POST /orders/{id}", kind=SpanKind.SERVER, attributes=route, links=links)
    inside = set_span_in_context(server)
    with tracer.start_as_current_span("validate", context=inside, attributes=EDGES) as validate:
        validate.add_event("checked", {"rules": 12, "names": ["a", "b"], "passed": True, "share": 0.5})
        with tracer.start_as_current_span("read rules", kind=SpanKind.CLIENT) as rules:
            rules.set_attribute("db.system.name", "postgresql")
            rules.set_attribute("db.query.summary", "SELECT rules")
            rules.set_status(Status(StatusCode.OK))
    with tracer.start_as_current_span("publish order", context=inside, kind=SpanKind.PRODUCER) as publish:
        publish.set_attributes({"messaging.system": "kafka", "messaging.destination.name": "orders"})
    try:
        with tracer.start_as_current_span("charge", context=inside, kind=SpanKind.CLIENT) as charge:
            charge.set_attributes({"server.address": "payments", "server.port": 8443})
            if number % 3 == 0:
                # The SDK turns this into an exception event and an error status.
                raise TimeoutError(f"order {number} was not charged")
        status = 200
    except TimeoutError:
        status = 504
        server.set_status(Status(StatusCode.ERROR, "the payment timed out"))
    server.set_attribute("http.response.status_code", status)
    server.end()
    return server.get_span_context(), 5


def send(arguments):
    witness = Witness(
        exporter(arguments.protocol, arguments.endpoint, arguments.compression, arguments.tls)
    )
    resource = Resource.create({"service.name": arguments.service, "service.version": "2.1.0", "shard": 3})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(
        BatchSpanProcessor(witness, schedule_delay_millis=100, max_export_batch_size=BATCH_SPANS)
    )
    tracer = provider.get_tracer("ethogram.tests", "1.0")
    created, earlier = 0, None
    for number in range(arguments.traces):
        earlier, spans = create(tracer, number, earlier)
        created += spans
    provider.shutdown()
    return {"created": created, "exported": [described(span) for span in witness.exported]}


def described(span):
    return {
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "name": span.name,
        "kind": span.kind.name.lower(),
        "status": span.status.status_code.name.lower(),
        "duration_us": (span.end_time - span.start_time) // 1_000,
        "attributes": {key: plain(value) for key, value in span.attributes.items()},
        "resource": {key: plain(value) for key, value in span.resource.attributes.items()},
    }


def plain(value):
    """The value as JSON can hold it."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--protocol", choices=["grpc", "http"], required=True)
    parser.add_argument("--endpoint", required=True, help="HOST:PORT")
    parser.add_argument("--compression", choices=["gzip", "none"], default="none")
    parser.add_argument("--tls", action="store_true", help="certificates by the SDK's variables")
    parser.add_argument("--service", required=True)
    parser.add_argument("--traces", type=int, default=70)
    print(json.dumps(send(parser.parse_args())))


if __name__ == "__main__":
    main()
