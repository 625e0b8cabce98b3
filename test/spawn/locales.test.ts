/** Bodies are bytes, whatever locale and options say of text: Rack and WSGI, with threads too. */
import { expect, test } from "bun:test";

import { spawnerScene } from "./spawner-scene.ts";
import { exchange, manyBytes, parseAnswer, post, spawnRequest, writeApp } from "./support.ts";
import { debianPath } from "./wsgi-programs.ts";

const { directory, spawner } = spawnerScene();

const programs = {
  // Beyond what is kept in memory where it can be read anew.
  rack: {
    "config.ru": `run lambda { |env|
  input = env["rack.input"]
  first = input.read(200_000)
  next [200, {}, [first, input.read]] unless input.respond_to?(:rewind)
  input.rewind
  [200, {}, [input.read]]
}`,
  },
  wsgi: {
    "wsgi.py": `def application(environ, start):
    start("200 OK", [])
    return [environ["wsgi.input"].read(200_000), environ["wsgi.input"].read()]`,
  },
};

const surroundings: readonly (readonly ["rack" | "wsgi", Readonly<Record<string, string>>])[] = [
  ["rack", { LC_ALL: "C" }],
  ["rack", { LC_ALL: "de_DE.ISO-8859-1" }],
  ["rack", { LC_ALL: "C", RUBYOPT: "-E UTF-8:UTF-8" }],
  ["rack", { LC_ALL: "C.UTF-8", RUBYOPT: "-E ISO-8859-1:UTF-8" }],
  ["wsgi", { LC_ALL: "C" }],
  ["wsgi", { LC_ALL: "de_DE.ISO-8859-1", PYTHONUTF8: "0", PYTHONCOERCECLOCALE: "0" }],
  ["wsgi", { LC_ALL: "C", PYTHONIOENCODING: "ascii" }],
  ["wsgi", { LC_ALL: "C.UTF-8", PYTHONUTF8: "1" }],
];

test.each(surroundings)("%s keeps bytes with %j", async (appType, variables) => {
  const root = writeApp(directory, appType, programs[appType]);
  const { bytes } = manyBytes();
  for (const threads of [1, 4]) {
    const more = { spawnMethod: "conservative" as const, threads };
    const given = { PATH: debianPath, ...variables };
    const request = spawnRequest(root, { appType, ...more, env: given });
    const instance = await spawner.spawn(request);
    const answer = parseAnswer(await exchange(instance, post(bytes)));
    expect(answer.body === bytes).toBe(true);
    instance.release();
  }
});
