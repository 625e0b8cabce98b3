/**
 * The server at work, for a stranger: starts the real binary as a parent does, sends requests to
 * two example applications, shows what the pool makes of them, breaks things, and cleans up.
 * Everything it prints has just been measured. The applications are copied to a temporary directory
 * first, so the checkout stays as it is. Exit status 0 only if all of it went as told.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { readlinkSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  Application,
  fetchFrom,
  type PoolConnection,
  type PoolServer,
  startPoolServer,
} from "../src/parent/index.ts";
import { workDirectory } from "./work-directory.ts";

interface Stage {
  readonly directory: string;
  readonly fifo: string;
  readonly server: PoolServer;
  /** Clients of the pool: each a connection of its own. */
  readonly clients: readonly PoolConnection[];
  readonly hello: Application;
  readonly counter: Application;
  /** Every application process seen, to know afterwards that none is left. */
  readonly seen: Set<number>;
}

const clientCount = 4;
/** Once it has been started. */
let server: PoolServer | undefined;
let isInterrupted = false;
const colour = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;

function title(text: string): void {
  console.log(colour ? `\n\x1b[1m${text}\x1b[0m` : `\n${text}\n${"-".repeat(text.length)}`);
}

function tell(text: string): void {
  console.log(text);
}

/** Lines that are quoted: requests, answers, the report. */
function quote(mark: string, text: string): void {
  const shown = text
    .trimEnd()
    .split("\n")
    .map((line) => `    ${mark} ${line}`.trimEnd())
    .join("\n");
  console.log(colour ? `\x1b[2m${shown}\x1b[0m` : shown);
}

function check(holds: boolean, claim: string): void {
  if (!holds) throw new Error(`this should be so, and is not: ${claim}`);
}

const since = (start: number): number => performance.now() - start;
const ms = (value: number): string => `${value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0)} ms`;

function at(stage: Stage, index: number): PoolConnection {
  const client = stage.clients[index % stage.clients.length];
  if (client === undefined) throw new Error("there is no client");
  return client;
}

/** One request; the answer's text and how long it took. */
async function ask(
  stage: Stage,
  app: Application,
  path: string,
  client = 0,
): Promise<{ text: string; tookMs: number; response: Response }> {
  const start = performance.now();
  const response = await fetchFrom(at(stage, client), app, new Request(`http://localhost${path}`));
  const text = await response.text();
  check(response.status === 200, `${path} is answered with 200, not ${response.status}: ${text}`);
  for (const [, pid] of text.matchAll(/process"?:? (\d+)/g)) stage.seen.add(Number(pid));
  return { text, tookMs: since(start), response };
}

async function open(directory: string): Promise<Stage> {
  title("1. A parent starts the server");
  for (const name of ["hello", "counter"]) {
    cpSync(join(import.meta.dir, "../examples", name), join(directory, name), { recursive: true });
  }
  const fifo = join(directory, "status.fifo");
  check(Bun.spawnSync(["mkfifo", "-m", "600", fifo]).success, "a FIFO can be made");
  const start = performance.now();
  server = startPoolServer({ statusFifo: fifo, logFile: join(directory, "log") });
  const clients = [await server.connect()];
  const firstMs = since(start);
  for (let i = 1; i < clientCount; i += 1) clients.push(await server.connect());
  tell(`Process ${server.pid} is the pool server. It took ${ms(firstMs)} from exec to the first`);
  tell(
    "connection. It listens on no port: the parent shares one socket with it and asks for more.",
  );
  const hello = new Application({ root: join(directory, "hello") });
  const counter = new Application({ root: join(directory, "counter"), environment: "staging" });
  return { directory, fifo, server, clients, hello, counter, seen: new Set() };
}

async function firstRequest(stage: Stage): Promise<void> {
  title("2. The first request starts the application, the next ones find it running");
  quote(">", "GET /welcome HTTP/1.1");
  const cold = await ask(stage, stage.hello, "/welcome");
  quote("<", `${cold.response.status} ${cold.response.statusText}\n${cold.text}`);
  const times: number[] = [];
  for (let i = 0; i < 101; i += 1) times.push((await ask(stage, stage.hello, "/again")).tookMs);
  const median = times.toSorted((a, b) => a - b)[50] ?? 0;
  tell(`It took ${ms(cold.tookMs)}, the start of the application's process included.`);
  tell(`The next 101 requests took ${ms(median)} each (median).`);
}

async function manyClients(stage: Stage): Promise<void> {
  title(`3. ${clientCount} clients at once, two applications`);
  const [first] = stage.clients;
  // One request at a time per process, as most Ruby and Python applications have it.
  await first?.configure(join(stage.directory, "counter"), { concurrency: 1, maxInstances: 4 });
  const start = performance.now();
  const jobs = Array.from({ length: 40 }, (_, i) =>
    i % 2 === 0
      ? ask(stage, stage.hello, `/page/${i}`, i % clientCount)
      : ask(stage, stage.counter, "/?ms=40", i % clientCount),
  );
  const answers = await Promise.all(jobs);
  const tookMs = since(start);
  const counters = answers.filter((answer) => answer.text.startsWith("{"));
  quote("<", counters.at(-1)?.text ?? "");
  const processes = new Set(counters.map((answer) => /"process":(\d+)/.exec(answer.text)?.[1]));
  tell("20 requests to hello, and 20 to counter, each of which takes 40 ms and has its process to");
  tell(`itself: the pool started ${processes.size} processes for them and shared them out.`);
  tell(`All 40 were answered in ${ms(tookMs)}; one after the other they would take over 800 ms.`);
  check(processes.size > 1, "the pool starts more than one process for requests that overlap");
  for (const pid of processes) stage.seen.add(Number(pid));
}

async function report(stage: Stage): Promise<void> {
  title("4. The status report, for whoever opens the FIFO");
  quote("|", await readFile(stage.fifo, "utf8"));
}

/** A session may be kept for a tenth of a second, and what is sent on it does not ask the pool. */
async function forgetSessions(): Promise<void> {
  await Bun.sleep(150);
}

async function restart(stage: Stage): Promise<void> {
  title("5. A new version: touch tmp/restart.txt");
  const root = join(stage.directory, "hello");
  const old = await ask(stage, stage.hello, "/before");
  await forgetSessions();
  writeFileSync(join(root, "greeting.txt"), "Hello from version two!\n");
  mkdirSync(join(root, "tmp"));
  writeFileSync(join(root, "tmp/restart.txt"), "");
  // Clients go on as if nothing had happened.
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) => ask(stage, stage.hello, "/after", i)),
  );
  const fresh = answers.filter((answer) => answer.text.startsWith("Hello from version two"));
  quote("<", `${old.text.split("\n")[0]}\n${answers.at(-1)?.text}`);
  tell("30 requests came in right after the touch; all of them were answered by the new version.");
  tell("None failed, none saw the old one, which left when its last request was done.");
  check(fresh.length === answers.length, "what comes after the touch gets the new version");
}

async function kill(stage: Stage): Promise<void> {
  title("6. A process is killed: kill -9");
  // Or one of the sessions at hand might answer while a get for another one is still on its way,
  // which would then meet the victim: the pool would say so, and take another.
  await forgetSessions();
  const { text } = await ask(stage, stage.hello, "/victim");
  const victim = Number(/process (\d+)/.exec(text)?.[1]);
  const start = performance.now();
  process.kill(victim, "SIGKILL");
  while (await isInPool(stage, victim)) check(since(start) < 5000, "the pool notices within 5 s");
  const noticedMs = since(start);
  const next = await ask(stage, stage.hello, "/next");
  quote("<", next.text);
  tell(
    `Process ${victim} was killed. The pool noticed within ${ms(noticedMs)}, by itself. The next`,
  );
  tell(`request got a new process and its answer in ${ms(next.tookMs)}, the start included.`);
  check(!next.text.includes(`process ${victim} `), "another process answers");
}

async function isInPool(stage: Stage, pid: number): Promise<boolean> {
  const { applications } = await at(stage, 0).inspect();
  return applications.some((app) => app.instances.some((instance) => instance.pid === pid));
}

async function speed(stage: Stage): Promise<void> {
  title("7. How fast");
  const gets = await forOneSecond(async (worker) => {
    (await at(stage, worker).get(stage.hello)).close();
  });
  const requests = await forOneSecond(async (worker) => {
    await ask(stage, stage.hello, "/fast", worker);
  });
  tell(`${gets.toLocaleString("en")} sessions a second handed out and taken back;`);
  tell(
    `${requests.toLocaleString("en")} whole requests a second answered by the processes of hello.`,
  );
  tell("Client, server and applications shared this machine's processors.");
}

/** Runs the job over and over in 32 workers. @returns jobs done per second. */
async function forOneSecond(job: (worker: number) => Promise<void>): Promise<number> {
  const start = performance.now();
  let done = 0;
  const work = async (_: unknown, worker: number): Promise<void> => {
    while (since(start) < 1000) {
      await job(worker);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: 32 }, work));
  return Math.round((done * 1000) / since(start));
}

async function end(stage: Stage): Promise<void> {
  title("8. The parent lets go");
  for (const client of stage.clients) client.close();
  const start = performance.now();
  await stage.server.close();
  const tookMs = since(start);
  const status = await stage.server.exited;
  check(status === 0, `the server ends with status 0, not ${status}`);
  const left = leftProcesses(stage);
  check(left.length === 0, `no process is left; these are: ${left.join(", ")}`);
  check(!readdirSync(stage.directory).includes("status.fifo"), "the FIFO is removed");
  tell(`The server's socket was closed; it ended after ${ms(tookMs)} with status 0 and took its`);
  tell(
    `applications along: of the ${stage.seen.size} application processes there were, none is left.`,
  );
}

/**
 * Processes of this demonstration that still run: seen ones, and any that works in its directory.
 */
function leftProcesses(stage: Stage): number[] {
  const running = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return running.map(Number).filter((pid) => {
    if (pid === stage.server.pid) return true;
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(stage.directory);
    } catch {
      return false; // it has just ended, or it is somebody else's
    }
  });
}

/** What the server and the applications had to say, when something went wrong. */
function showLog(directory: string): void {
  try {
    quote("|", readFileSync(join(directory, "log"), "utf8").slice(-4000));
  } catch {
    tell("(there is no log)");
  }
}

/** For an interrupt, at whatever step it comes. */
async function endServer(): Promise<void> {
  isInterrupted = true;
  await server?.close();
}

async function main(): Promise<void> {
  const directory = workDirectory("pool-demo-", endServer);
  let stage: Stage | undefined;
  try {
    stage = await open(directory);
    for (const step of [firstRequest, manyClients, report, restart, kill, speed, end]) {
      await step(stage);
    }
  } catch (error) {
    if (isInterrupted) return;
    console.error(`\ndemo: ${error instanceof Error ? error.message : String(error)}`);
    showLog(directory);
    process.exitCode = 1;
  } finally {
    for (const client of stage?.clients ?? []) client.close();
    await server?.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

await main();
