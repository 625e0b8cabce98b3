/**
 * The binary with its built-in spawner and `bun` applications: what needs nothing installed, not
 * even a PATH.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { encodeScalar } from "../../src/wire/scalar-message.ts";
import { serverTests, type ServerTest, type ServerUnderTest } from "./pool-server.ts";
import { appElements, frame } from "./raw-client.ts";

const binaryTest = serverTests("binary");

/** A test of a server that makes its instances itself. */
export function builtinTest(claim: string, body: ServerTest): void {
  binaryTest(claim, { binary: { builtin: true }, environment: { PATH: "/nonexistent" } }, body);
}

/** The six elements of a get of a `bun` application. */
export function bunElements(root: string): string[] {
  return appElements(root, { appType: "bun" });
}

/** Writes an application of one file, and configures it. @returns its root. */
export async function bunApplication(
  server: ServerUnderTest,
  name: string,
  source: string,
  options: Readonly<Record<string, number>> = {},
): Promise<string> {
  const root = server.app(name);
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "server.ts"), source);
  const client = await server.connect();
  const json = encodeScalar(Buffer.from(JSON.stringify(options)));
  await client.sendBytes(Buffer.concat([frame("configure", root), json]));
  const reply = await client.receive();
  if (reply.join("|") !== "ok") throw new Error(`configure was answered ${reply.join("|")}`);
  client.close();
  return root;
}
