/** Starts that fail: what clients and people are told, and that nothing is left of them. */
import { afterEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";

import { findUserById } from "../../src/native/process.ts";
import { renderErrorPage } from "../../src/spawn/builtin/error-page.ts";
import type { SpawnFailedError, SpawnRequest } from "../../src/spawn/spawner.ts";
import { ascii, fromText } from "../../src/wire/bytes.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { childrenOf, untilGone } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { freshSpawners } from "./spawner-scene.ts";
import { failureOf, pageOf, spawnRequest, writeApp } from "./support.ts";

const temporaryDirectory = temporaryDirectories();
const scene = freshSpawners(temporaryDirectory, true);

afterEach(async () => {
  await until("no child is left", () => childrenOf(process.pid).length === 0);
});
// After the closing of the spawners: hooks run in the order they are given in.
countDescriptors();

/** How the spawn of an application of these files fails. */
function failing(
  files: Readonly<Record<string, string>>,
  changed: Partial<SpawnRequest> = {},
): Promise<SpawnFailedError> {
  const root = writeApp(temporaryDirectory(), "app", files);
  return failureOf(scene().spawner.spawn(spawnRequest(root, { appType: "bun", ...changed })));
}

const failures: readonly (readonly [string, string, string, string])[] = [
  ["throws", 'throw new RangeError("boom")', "RangeError: boom", "server.ts:1"],
  ["does not parse", "const x = = 1", "error: Unexpected =", "server.ts:1"],
  ["lacks a module", 'import "./gone.ts"', "Cannot find module './gone.ts'", "server.ts"],
  ["rejects", 'await Promise.reject(new Error("late"))', "error: late", "server.ts:1"],
  ["throws later", 'setTimeout(() => { throw new Error("x1") }, 9)', "error: x1", "server.ts:1"],
  ["does not serve", 'console.log("done")', "it neither exports a default with", "done"],
  ["exits", 'console.error("why"); process.exit(3)', "exited with status 3 before it", "why"],
  ["kills itself", 'process.kill(process.pid, "SIGKILL")', "was ended by SIGKILL before", "app"],
  ["serves nonsense", "Bun.serve({})", "Bun.serve() needs fetch or routes", "server.ts:1"],
];

test.each(failures)("says of a program that %s what and where", async (_, source, why, where) => {
  const error = await failing({ "server.ts": source });
  expect(error.message).toContain(why);
  expect(pageOf(error)).toContain(where);
});

test.each([
  [{ appType: ascii("php") }, "its type 'php' is none of rack, wsgi, asgi, "],
  [{ appType: ascii("") }, "its type '' is none of"],
  [{ appType: ascii("__proto__") }, "its type '__proto__' is none of"],
  [{ spawnMethod: ascii("fast") }, "its spawn method 'fast' is neither smart nor conservative"],
])("names the word of the get that it does not know: %j", async (changed, why) => {
  const error = await failing({ "server.ts": "export default {};" }, changed);
  expect(error.message).toContain(why);
  expect(pageOf(error)).toContain(why.split(" is n")[1] ?? why);
});

test("needs no network for what is not installed: it is an error", async () => {
  const error = await failing({ "server.ts": 'import "left-pad"; export default {};' });
  expect(error.message).toContain("left-pad");
});

test("takes what is no message on the lifeline for a failure", async () => {
  const source = 'require("fs").writeSync(4, "\\0\\4abc\\0"); setInterval(() => {}, 1000);';
  expect((await failing({ "server.ts": source })).message).toContain("lifeline: 'abc'");
});

test("leaves nothing of a start under way when the server is killed outright", async () => {
  const directory = temporaryDirectory();
  const root = writeApp(directory, "app", { "server.ts": "setInterval(() => {}, 1000);" });
  const source = `${import.meta.dir}/../../src/spawn/builtin/builtin-spawner.ts`;
  const server = `${directory}/server.ts`;
  writeFileSync(
    server,
    `import { BuiltinSpawner } from "${source}";
     const options = { notify() {}, writeOutput() {}, baseDirectory: "${directory}" };
     const request = ${JSON.stringify(spawnRequest(root, { appType: "bun" }))};
     await new BuiltinSpawner(options).spawn(request);`,
  );
  const child = Bun.spawn([process.execPath, server], { stdio: ["ignore", "ignore", "ignore"] });
  const started = await until("the instance runs its loader", () =>
    childrenOf(child.pid).find(({ command }) => command.includes("--preload")),
  );
  child.kill("SIGKILL");
  await child.exited;
  await untilGone(started.pid);
});

test("shows the end of the output, and no more than 8 KiB of it", async () => {
  const source = "for (let i = 0; i < 9999; i += 1) console.log(`line ${i}`); throw 1;";
  const page = pageOf(await failing({ "server.ts": source }));
  expect(page).toContain("line 9998");
  expect(page).not.toContain("line 100\n");
  expect(page.length).toBeLessThan(20_000);
});

test("escapes everything an application says about itself", async () => {
  const evil = "<script>alert('\"&</script>";
  const source = `console.log(${JSON.stringify(evil)}); throw new Error(${JSON.stringify(evil)});`;
  const error = await failing({ "server.ts": source }, { environment: fromText(evil) });
  expect(pageOf(error)).not.toContain("<script>");
  expect(pageOf(error)).toContain("&lt;script&gt;alert(&#x27;&quot;&amp;&lt;/script&gt;");
});

test("shows no value of the environment", async () => {
  const error = await failing(
    { "server.ts": "throw new Error('x')" },
    { env: { PASSWORD: "correct horse" } },
  );
  expect(pageOf(error)).not.toContain("correct horse");
});

test("says what was run and as whom", async () => {
  const page = pageOf(await failing({ "index.ts": "throw 1" }));
  expect(page).toContain("index.ts (bun)");
  expect(page).toContain(`<dd>${findUserById(process.geteuid?.() ?? 0)?.name}</dd>`);
  expect(page).toContain("<dd>production</dd>");
});

test("says what was looked for where there is no application", async () => {
  const error = await failing({ "readme.txt": "" }, { appType: "auto" });
  expect(error.message).toContain("no startup file of type auto in");
  expect(pageOf(error)).toContain("passenger_wsgi.py");
});

test.each(["\xff", "what?", "back\\slash"])(
  "says that Bun can run nothing below %j",
  async (name) => {
    const root = ascii(`${temporaryDirectory()}/${name}`);
    mkdirSync(Buffer.from(root, "latin1"));
    writeFileSync(Buffer.from(`${root}/server.ts`, "latin1"), "export default {};");
    const request = { ...spawnRequest("/", { appType: "bun" }), root };
    expect((await failureOf(scene().spawner.spawn(request))).message).toContain(
      "Bun cannot load a program from",
    );
  },
);

test("refuses variables that do not fit, or hold what no variable can", async () => {
  const big = { env: { BIG: "x".repeat(200_000) } };
  expect((await failing({ "server.ts": "" }, big)).message).toContain("E2BIG");
  const nul = { env: { NUL: "a\0b" } };
  expect((await failing({ "server.ts": "" }, nul)).message).toContain("a string contains a NUL");
});

test("makes a page of the message alone when nothing else is known", () => {
  const page = Buffer.from(renderErrorPage({ root: "/srv/a", message: "why" })).toString();
  expect(page).toContain("<p>why</p>");
  expect(page).not.toContain("<pre>");
  expect(page).not.toContain("undefined");
});
