/** What the tests of the rack loader share: a spawner, applications, requests. */
import type { Instance, SpawnRequest } from "../../src/spawn/spawner.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { exchange, get, parseAnswer, spawnRequest, writeApp } from "./support.ts";

type Files = Readonly<Record<string, string>>;

/** A spawner, and applications for it, each freshly loaded unless `more` says otherwise. */
export function rackScene() {
  const scene = spawnerScene();
  const start = (name: string, files: Files, more: Partial<SpawnRequest> = {}) => {
    const root = writeApp(scene.directory, name, files);
    return scene.spawner.spawn(spawnRequest(root, { spawnMethod: "conservative", ...more }));
  };
  return { ...scene, start };
}

/** A GET of this path and query. */
export function to(target: string, more: Readonly<Record<string, string>> = {}): Uint8Array {
  return get({ REQUEST_URI: target, ...more });
}

/** The answer to bytes after which our side is ended. */
export async function ask(instance: Instance, bytes: Uint8Array) {
  return parseAnswer(await exchange(instance, bytes));
}

/** A head of these bytes, whether they are one or not. */
export function framed(payload: string): Uint8Array {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(payload.length);
  return Buffer.concat([size, Buffer.from(payload, "latin1")]);
}
