/**
 * The example parents in other languages, run as their first lines say: each starts the real
 * server, makes one request to examples/hello, prints it and ends with the server's status.
 */
import { expect, test } from "bun:test";
import { join, resolve } from "node:path";
import { serverExecutable } from "../../src/parent/index.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const examples = resolve(import.meta.dir, "../../examples");
const hello = join(examples, "hello");

/** Runs a program to its end. */
async function run(...command: string[]): Promise<{ output: string; status: number }> {
  const child = Bun.spawn(command, { stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const status = await child.exited;
  return { output: output + (status === 0 ? "" : errors), status };
}

/** The tool's path. @throws Error with what to install. */
function tool(name: string, packages: string): string {
  const path = Bun.which(name);
  if (path === null) throw new Error(`this test needs ${name}: install ${packages}`);
  return path;
}

test("parent.py starts the server and prints the answer of hello", async () => {
  const python = tool("python3", "python3");
  const parent = join(examples, "parents/parent.py");
  const { output, status } = await run(python, parent, serverExecutable(), hello);
  expect(output).toMatch(/^session 0 with process \d+\nStatus: 200 OK\r\n/);
  expect(output).toContain("\r\n\r\nHello from the pool!\nYou asked for /from/python; process ");
  expect(status).toBe(0);
});

test("parent.py needs no arguments in a built checkout", async () => {
  const python = tool("python3", "python3");
  const { output } = await run(python, join(examples, "parents/parent.py"));
  expect(output).toContain("Hello from the pool!");
});

test("parent.c compiles without a warning, starts the server and prints the answer", async () => {
  const compiler = tool("cc", "gcc and libc6-dev");
  const program = join(temporaryDirectory(), "parent");
  const flags = ["-Wall", "-Wextra", "-Werror", "-o", program];
  expect(await run(compiler, ...flags, join(examples, "parents/parent.c"))).toEqual({
    output: "",
    status: 0,
  });
  const { output, status } = await run(program, serverExecutable(), hello);
  expect(output).toMatch(/^session 0 with process \d+\nStatus: 200 OK\r\n/);
  expect(output).toContain("\r\n\r\nHello from the pool!\nYou asked for /from/c; process ");
  expect(status).toBe(0);
});

test("each parent says why when the application cannot be had", async () => {
  const python = tool("python3", "python3");
  const parent = join(examples, "parents/parent.py");
  const { output, status } = await run(python, parent, serverExecutable(), "/no/such/app");
  expect(output).toContain("SpawnException Cannot spawn application '/no/such/app': ");
  expect(status).toBe(1);
});
