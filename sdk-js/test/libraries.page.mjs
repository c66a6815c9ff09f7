// The page of libraries.test.mjs: one way to send an operation per library, each counting its sends.
import axios from "axios";
import axiosRetry from "axios-retry";
import ky from "ky";
import pRetry from "p-retry";
import fetchRetry from "fetch-retry";
import { QueryClient } from "@tanstack/query-core";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { RetryLink } from "@apollo/client/link/retry";

const RETRIES = 3;
const pauseMs = (retry) => 25 * 2 ** retry * (0.8 + 0.4 * Math.random());

/** Sends of each operation, as the library that makes them counts. */
const sends = {};
const count = (id) => (sends[id] = (sends[id] || 0) + 1);
const failUnlessOk = (response) => {
  if (!response.ok) throw new Error("HTTP " + response.status);
  return response.text();
};

function axiosBy(adapter) {
  const client = axios.create({ adapter });
  client.interceptors.request.use((config) => {
    count(config.id);
    if (config.says && config["axios-retry"]?.retryCount) config.headers["retry-attempt"] = config["axios-retry"].retryCount;
    return config;
  });
  axiosRetry(client, { retries: RETRIES, retryCondition: () => true, retryDelay: pauseMs });
  return ({ id, method, url, body, says }) => client.request({ id, method, url, data: body, says });
}

const retrying = fetchRetry((...args) => {
  count(args[1].id);
  return window.fetch(...args);
});
/** Calls `send` and says which attempt it is, for libraries that do not say it themselves. */
const numbered = (says, send) => {
  let number = 0;
  return (...args) => (says ? ethogram.attempt(++number, () => send(...args)) : send(...args));
};
/** Retries of one operation pass this link, each time with the same operation. */
const saying = new ApolloLink((operation, forward) => {
  operation.setContext(({ number = 0, headers }) => ({
    number: number + 1,
    headers: operation.variables.says && number ? { ...headers, "retry-attempt": String(number) } : headers,
  }));
  return forward(operation);
});
const queries = new QueryClient();
const counted = new ApolloLink((operation, forward) => {
  count(operation.variables.id);
  return forward(operation);
});
const apollo = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.from([
    new RetryLink({ delay: { initial: 25, jitter: true }, attempts: { max: RETRIES + 1 } }),
    saying,
    counted,
    new HttpLink({ uri: "/graphql" }),
  ]),
});
const SAID = gql`query Item($id: String!, $plan: String!, $says: Boolean) { item(id: $id, plan: $plan, says: $says) }`;
const QUERY = gql`query Item($id: String!, $plan: String!) { item(id: $id, plan: $plan) }`;

const libraries = {
  "axios-retry (xhr)": axiosBy("xhr"),
  "axios-retry (fetch)": axiosBy("fetch"),
  ky: ({ id, method, url, body, says }) => {
    const beforeRetry = ({ request, retryCount }) => {
      count(id);
      if (says) request.headers.set("retry-attempt", String(retryCount));
    };
    return ky(url, { method, body, retry: { limit: RETRIES, delay: pauseMs, methods: ["get", "post", "put"], statusCodes: [404, 429, 503] }, hooks: { beforeRetry: [beforeRetry], beforeRequest: [() => void count(id)] } });
  },
  "p-retry": ({ id, method, url, body, says }) =>
    pRetry(
      (attempt) => {
        count(id);
        const headers = says ? { "x-retry-attempt": String(attempt - 1) } : {};
        return fetch(url, { method, body, headers }).then(failUnlessOk);
      },
      { retries: RETRIES, minTimeout: 40, randomize: true },
    ),
  "fetch-retry": ({ id, method, url, body, says }) => {
    const send = says ? fetchRetry(numbered(says, (...args) => (count(id), window.fetch(...args)))) : retrying;
    return send(url, { id, method, body, retries: RETRIES, retryDelay: pauseMs, retryOn: [404, 429, 503] }).then(failUnlessOk);
  },
  "@tanstack/query-core": ({ id, method, url, body, says }) =>
    queries.fetchQuery({
      queryKey: [id],
      queryFn: () => {
        count(id);
        const send = () => fetch(url, { method, body }).then(failUnlessOk);
        return says ? ethogram.attempt(1 + (queries.getQueryState([id])?.fetchFailureCount ?? 0), send) : send();
      },
      retry: RETRIES,
      retryDelay: pauseMs,
    }),
  "@apollo/client RetryLink": ({ id, plan, says = false }) =>
    apollo.query({ query: says ? SAID : QUERY, variables: { id, plan, ...(says && { says }) }, fetchPolicy: "no-cache" }),
};

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

window.world = {
  sends,
  names: Object.keys(libraries),
  /** All at once, as pages do on arrival. */
  together: (name, operations) => Promise.allSettled(operations.map((operation) => libraries[name](operation))),
  /** One after the other, as users do. */
  async inTurn(name, operations) {
    for (const operation of operations) {
      await Promise.allSettled([libraries[name](operation)]);
      await pause(100 + 700 * Math.random());
    }
  },
  axios,
  ky,
  pause,
};
