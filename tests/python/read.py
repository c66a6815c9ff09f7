"""Reads what a browser has posted as any OTLP backend would: by the protocol's own schema.

Standard input has one body a line. `protobuf` parses JSON strictly: a field that the schema does not
know, or a value that is not of its type, ends the program with an error. OTLP's one exception to
protobuf's JSON is made up for: ids are hexadecimal there, and base64 in protobuf.

The last line of standard output is JSON, what was read:

    {"bodies": 9, "spans": {"GET": 12, …}, "events": {"behavior.leave": 3, …}, "ids": 30}
"""

import base64
import collections
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

# How many hexadecimal digits each id has.
DIGITS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}


def with_ids_as_protobuf_has_them(value):
    if isinstance(value, list):
        return [with_ids_as_protobuf_has_them(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(id_of(key, item)).decode() if key in DIGITS else with_ids_as_protobuf_has_them(item)
        for key, item in value.items()
    }


def id_of(key, text):
    if len(text) != DIGITS[key] or text != text.lower():
        raise ValueError(f"{key} {text!r} is no id")
    return bytes.fromhex(text)


def main():
    bodies, ids = 0, 0
    spans, events = collections.Counter(), collections.Counter()
    for line in sys.stdin:
        body = with_ids_as_protobuf_has_them(json.loads(line))
        bodies += 1
        # A body may hold both; a backend has a path for each.
        traces = json_format.ParseDict({"resourceSpans": body.pop("resourceSpans", [])}, ExportTraceServiceRequest())
        logs = json_format.ParseDict({"resourceLogs": body.pop("resourceLogs", [])}, ExportLogsServiceRequest())
        if body:
            raise ValueError(f"a backend knows nothing of {list(body)}")
        for resource in traces.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    spans[span.name] += 1
                    ids += len(span.trace_id) == 16 and len(span.span_id) == 8
                    if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
                        raise ValueError(f"{span.name} ends before it starts")
        for resource in logs.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    events[record.event_name] += 1
                    if not record.event_name or not record.time_unix_nano:
                        raise ValueError("an event without a name or a time")
    print(json.dumps({"bodies": bodies, "spans": spans, "events": events, "ids": ids}))


main()
