/**
 * The library for parents of the pool server, in TypeScript on Bun:
 *
 *     await using server = startPoolServer();
 *     using pool = await server.connect();
 *     const answer = await pool.request("/srv/app", { headers: [["REQUEST_METHOD", "GET"], …] });
 *     console.log(answer.status, await answer.text());
 *
 * This is the one file that gathers others: the package's export.
 */
export { Application, type ApplicationOptions } from "./application.ts";
export { PoolConnection, type GetOptions } from "./connection.ts";
export type { PoolRequest } from "./pooled-request.ts";
export {
  AnswerTimeoutError,
  BusyError,
  ConfigureError,
  GoneForGoodError,
  PoolError,
  PoolIOError,
  ServerGoneError,
  SessionError,
  SpawnError,
} from "./errors.ts";
export { cgiHeaders, fetchFrom, type RequestOrigin } from "./fetch.ts";
export {
  attachPoolServer,
  type CloseOptions,
  type ConnectOptions,
  type PoolAccess,
  PoolServer,
  type PoolServerOptions,
  serverExecutable,
  startPoolServer,
} from "./pool-server.ts";
export type {
  InspectedApplication,
  InspectedCounters,
  InspectedInstance,
  Inspection,
} from "../wire/inspection.ts";
export { request, type SessionRequest } from "./request.ts";
export type { RequestBody } from "./caller-body.ts";
export { SessionResponse } from "./response.ts";
export { Session } from "./session.ts";
export type { AppType, SpawnMethod } from "../wire/app-request.ts";
export type { InstanceOptions } from "../wire/configure.ts";
