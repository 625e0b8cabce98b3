/** Starts that a restart has made useless: they end, and take nothing from those that are not. */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { causeText } from "../../src/wire/cause.ts";
import { childrenOf } from "../helpers/processes.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { exchange, get, parseAnswer, writeApp } from "./support.ts";
import { wsgiRequest } from "./wsgi-programs.ts";

const { directory, spawner, isTold } = spawnerScene();

const slow = `
import os, time
print("it loads")
while not os.path.exists("go-on"):
    time.sleep(0.01)
def application(environ, start):
    start("200 OK", [])
    return [b"serves"]
`;

const pids = () => childrenOf(process.pid).map(({ pid }) => pid);

const why = (spawn: Promise<unknown>) => spawn.then(() => "it started", causeText);

test("a useless start leaves the preloader to who waits for it, too", async () => {
  const root = writeApp(directory, "shared", { "passenger_wsgi.py": slow });
  const request = wsgiRequest(root, { spawnMethod: "smart" });
  const restart = new AbortController();
  const useless = why(spawner.spawn({ ...request, useless: restart.signal }));
  const wanted = spawner.spawn(request);
  await isTold("it loads");
  restart.abort("it is out of date");
  expect(await useless).toContain("it is out of date");
  writeFileSync(join(root, "go-on"), "");
  const instance = await wanted;
  expect(parseAnswer(await exchange(instance, get())).body).toBe("serves");
});

test("what is useless before it has begun starts nothing", async () => {
  const root = writeApp(directory, "unbegun", { "passenger_wsgi.py": slow });
  for (const spawnMethod of ["smart", "conservative"] as const) {
    const before = pids();
    const restart = new AbortController();
    const request = wsgiRequest(root, { spawnMethod });
    const useless = why(spawner.spawn({ ...request, useless: restart.signal }));
    restart.abort("it is out of date");
    expect(await useless).toContain("it is out of date");
    expect(pids()).toEqual(before);
  }
});
