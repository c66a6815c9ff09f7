// Connections that are held for long: WebSocket and EventSource. What they carry is not looked at;
// that they are open, for how long, and how they end, is what exhausts pools and follows outages.

import { now } from "./clock";
import { micros, withoutQuery } from "./encode";
import { after, before, listen } from "./patch";
import { record } from "./recorder";

type Stream = WebSocket | EventSource;

export function watchStreams(): void {
  /** How to tell of each that lives. */
  const living = new Map<Stream, (state: string, code?: number) => void>();

  const end = (stream: Stream, state: string, code?: number): void => {
    living.get(stream)?.(state, code);
    living.delete(stream);
  };

  const follow = (stream: Stream, type: string): void => {
    const startMs = now();
    living.set(stream, (state, code) =>
      record("behavior.stream", {
        "stream_type": type,
        "stream_state": state,
        "lifetime_us": micros(now() - startMs),
        "close_code": code,
        "url.full": withoutQuery(stream.url),
      }),
    );
    listen("open error close", (event: Partial<CloseEvent>) => {
      // An EventSource that lost its server says so, waits, and asks again by itself.
      if (event.type == "close" || stream.readyState == 2) end(stream, "closed", event.code);
      else if (event.type == "open" || !stream.readyState) living.get(stream)?.(stream.readyState ? "open" : "reconnecting");
    }, stream);
  };

  for (const type of ["WebSocket", "EventSource"]) {
    after(window, type, "construct", (stream: Stream) => follow(stream, type));
  }
  before(EventSource.prototype, "close", (stream: EventSource) => end(stream, "closed"));
  listen("pagehide", () => living.forEach((_, stream) => end(stream, "left")));
}
