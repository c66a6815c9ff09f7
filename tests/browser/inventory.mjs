// The service behind the shop: one more hop.
import { announce, nameRoute, startTracing } from "./telemetry.mjs";

const http = startTracing("inventory").require("node:http");

announce(
  http.createServer((request, response) => {
    nameRoute(request.method, "/stock");
    response.writeHead(200, { "content-type": "application/json" }).end('{"stock":7}');
  }),
);
