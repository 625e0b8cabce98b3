/**
 * A worker's rehearsal. Code that runs for the first time is slow: of an application's first
 * request a worker would take 3 ms. So before the first visitor comes it answers a request of
 * nobody's, for an application of nobody's. Both are in this process: no application, pool server
 * or log hears of it.
 */
import { putOnEventLoop } from "../../native/event-loop.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { send, socketPair } from "../../native/socket.ts";
import { Application } from "../../parent/application.ts";
import type { PendingGet } from "../../parent/pending-gets.ts";
import { SessionLines } from "../../parent/session-lines.ts";
import { Session } from "../../parent/session.ts";
import type { GatewayConfig } from "../config.ts";
import { Site, type SiteOptions } from "./site.ts";
import { Visitor } from "./visitor.ts";

/** Nothing is in it, not even where files hang. */
const nowhere = "/dev/null";

const request = Buffer.from(
  "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nConnection: close\r\n\r\n",
);
const answer = Buffer.from(
  "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n.",
);

/**
 * @returns what rehearses, once, and resolves with the status of the answer; made before, since a
 * worker that has given up its rights can make no pair of sockets.
 */
export function rehearsal(config: GatewayConfig): () => Promise<number> {
  const pairs = { visitor: socketPair(), session: socketPair() };
  return () => rehearse(config, pairs);
}

type Pair = [ours: OwnedFd, theirs: OwnedFd];

async function rehearse(
  config: GatewayConfig,
  { visitor, session }: Readonly<Record<"visitor" | "session", Pair>>,
): Promise<number> {
  using _ = visitor[1];
  using stream = session[0];
  using instance = session[1];
  const ask = ({ resolve }: PendingGet): void => {
    setImmediate(resolve, new Session(process.pid, 0, stream, ignore));
    send(instance.number, answer);
  };
  const lines = new SessionLines({ ask, withdraw: ignore, keep: ignore }, true);
  const application = new Application(nowhere);
  const link: SiteOptions["link"] = {
    isClosed: false,
    take: (_app, waiter) => lines.take(application, waiter),
    leave: (_app, waiter) => lines.leave(application, waiter),
  };
  const apps = config.apps.slice(0, 1).map((app) => {
    const without = { root: nowhere, hosts: [], prefix: "/", files: [] };
    return { ...app, ...without, type: "rack" as const };
  });
  const served = { ...config, tls: undefined, apps };
  const over = Promise.withResolvers<number>();
  const onDone: SiteOptions["onDone"] = ({ status }) => over.resolve(status);
  const site = new Site({ config: served, link, onDone, onFailure: ignore });
  const handlers = { data: ignore };
  const socket = await putOnEventLoop(visitor[0], { data: undefined, socket: handlers });
  new Visitor(site, socket as never, true).received(request);
  return await over.promise;
}

function ignore(): void {}
