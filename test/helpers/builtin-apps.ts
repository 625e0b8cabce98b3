/**
 * Applications for the binary's built-in spawner: their files, requests to them, and refusals.
 * With `faultTests` a claim gets a server of its own, and after it, beside the universal check, a
 * healthy application must still be served.
 */
import { mkdirSync, readlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import type { ByteString } from "../../src/wire/bytes.ts";
import { until } from "./condition.ts";
import { serverTests, type ServerSetup, type ServerUnderTest } from "./pool-server.ts";
import { childrenOf, killIfThere } from "./processes.ts";
import {
  appElements,
  frame,
  readToEnd,
  sendAll,
  type GetOptions,
  type RawClient,
  type RawSession,
} from "./raw-client.ts";
import { encodeSessionHeaders } from "./peer-messages.ts";

/** The binary with its built-in spawner and the interpreters of the system. */
export const builtin = {
  binary: { builtin: true },
  environment: { PATH: "/usr/bin:/bin" },
} satisfies ServerSetup;

/** Writes an application's files. @returns its root. */
export function writeFiles(
  server: ServerUnderTest,
  name: string,
  files: Readonly<Record<string, string>>,
): string {
  const root = server.app(name);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return root;
}

export interface Answer {
  readonly pid: number;
  readonly head: string;
  readonly body: string;
}

/** Sends a GET on a session; the answer is not waited for. */
export async function sendRequest(session: RawSession, path = "/path"): Promise<void> {
  const headers = Object.entries({
    REQUEST_METHOD: "GET",
    REQUEST_URI: path,
    PATH_INFO: path,
    SCRIPT_NAME: "",
    QUERY_STRING: "",
    SERVER_NAME: "localhost",
    SERVER_PORT: "80",
    SERVER_PROTOCOL: "HTTP/1.1",
    REMOTE_ADDR: "127.0.0.1",
  }) as [ByteString, ByteString][];
  await sendAll(session.stream.number, encodeSessionHeaders(headers));
}

/** One request, from `get` to `close`. */
export async function request(
  client: RawClient,
  root: string,
  options: GetOptions,
  path?: string,
): Promise<Answer> {
  const session = await client.get(root, options);
  await sendRequest(session, path);
  const answer = await readToEnd(session.stream.number);
  await client.closeSession(session);
  const [head = "", body = ""] = answer.split("\r\n\r\n", 2);
  return { pid: session.pid, head, body };
}

/** Sends `configure`, which must be taken. */
export async function configure(client: RawClient, root: string, options: object): Promise<void> {
  const json = Buffer.from(JSON.stringify(options));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  await client.sendBytes(Buffer.concat([frame("configure", root), length, json]));
  const reply = await client.receive();
  if (reply.join("|") !== "ok") throw new Error(`configure was answered ${reply.join("|")}`);
}

export interface Refusal {
  readonly message: string;
  readonly page: string;
}

/** The SpawnException that a get is answered with. */
export async function receiveRefusal(client: RawClient): Promise<Refusal> {
  const [name, message = "", hasPage] = await client.receive();
  if (name !== "SpawnException") throw new Error(`get was answered ${name} ${message}`);
  return { message, page: hasPage === "true" ? await client.receiveScalar() : "" };
}

export async function refusal(
  client: RawClient,
  root: string,
  options: GetOptions,
): Promise<Refusal> {
  await client.send("get", ...appElements(root, options));
  return await receiveRefusal(client);
}

const healthy = `export default { fetch: () => new Response("healthy") };`;

/** A healthy application is started and answers. */
export async function checkServes(server: ServerUnderTest): Promise<void> {
  const client = await server.connect();
  const root = writeFiles(server, "healthy", { "server.ts": healthy });
  const { body } = await request(client, root, { appType: "bun" });
  if (body !== "healthy") throw new Error(`a healthy application answered '${body}'`);
  client.close();
}

/** Preloaders of the server, which outlive their instances. */
export function preloadersOf(server: ServerUnderTest): number[] {
  return childrenOf(server.pid)
    .filter(({ command }) => /\bpreloader\b/.test(command))
    .map(({ pid }) => pid)
    .filter(hasNoSocket);
}

/** What a preloader that has ended had forked is a child of the server's too, of the same name. */
function hasNoSocket(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/3`) === "/dev/null";
  } catch {
    return false; // It has ended.
  }
}

/** Ends instances and then preloaders, so that the server holds what it held at first. */
async function endAll(server: ServerUnderTest): Promise<void> {
  const client = await server.connect();
  await client.send("clear");
  const forked = () => preloadersOf(server).flatMap((pid) => childrenOf(pid));
  await until("no preloader has an instance", () => forked().length === 0, forked);
  client.close();
  for (const pid of preloadersOf(server)) killIfThere(pid);
  await until("no preloader is left", () => preloadersOf(server).length === 0);
}

type Body = (server: ServerUnderTest) => Promise<void>;

/** Declares tests of faults: `(claim, body)` or `(claim, setup, body)`. */
export function faultTests() {
  const binaryTest = serverTests("binary");
  return (claim: string, ...rest: [Body] | [ServerSetup, Body]): void => {
    const [setup, body] = rest.length === 1 ? [builtin, rest[0]] : rest;
    binaryTest(claim, setup, async (server) => {
      await body(server);
      server.parent.closeClients();
      await checkServes(server);
      await endAll(server);
    });
  };
}
