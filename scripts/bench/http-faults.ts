/**
 * What visitors notice when a part of the gateway is exchanged or dies under load: every request is
 * counted and every answer compared.
 *
 *     bun scripts/bench.ts faults [--only rack,wsgi,node,bun] [--connections 16] [--seconds 3]
 *                                 [--workers 1] [--match WORDS] [--server PATH] [--write FILE]
 *
 * Each fault has a gateway of its own, and happens twice, after a third and two thirds of the time.
 * `--match` leaves out those whose names do not have these words.
 */
import { chmodSync, cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { machineLine } from "./document.ts";
import { numberFlag, readFlags, textFlag, wordsFlag } from "./flags.ts";
import { APPS, measured, say, usualFlags } from "./frame.ts";
import { APP_TYPES, type AppType, ENVIRONMENT, GREETING } from "./http-servers.ts";
import { markdownTable, show } from "./http-table.ts";
import { load, type Question, type Tally } from "./load-connection.ts";
import { commandOf, withDescendants } from "./process-tree.ts";
import { freePort, StartedServer } from "./started-server.ts";

const readOptions = (args: string[]) =>
  readFlags(args, {
    ...usualFlags,
    only: wordsFlag(APP_TYPES),
    connections: numberFlag(16),
    seconds: numberFlag(3),
    workers: numberFlag(1),
    match: textFlag(""),
  });
type Options = ReturnType<typeof readOptions>;

/** A gateway that runs, and where its application lies. */
interface Scene {
  readonly server: StartedServer;
  readonly root: string;
}

interface Fault {
  readonly name: string;
  /** Whether requests that may not be repeated are among those that are made. */
  readonly posts: boolean;
  happen(scene: Scene): void;
}

/** A process of the gateway, by a word of its command line; the first of several. */
function pidOf({ server }: Scene, is: (command: string) => boolean): number {
  const found = withDescendants(server.pids).find(({ pid }) => is(commandOf(pid)));
  if (found === undefined) throw new Error("the process that is to be signalled is not there");
  return found.pid;
}

const isWorker = (command: string): boolean => command.endsWith(" gateway-worker");
const isPoolServer = (command: string): boolean => / \d builtin /.test(command);

function killInstance(scene: Scene): void {
  const poolServer = pidOf(scene, isPoolServer);
  // Preloaders are older than the instances that they have forked, and leaves have no children.
  const family = withDescendants([poolServer]);
  const leaf = family.findLast(({ pid }) => !family.some(({ parent }) => parent === pid));
  if (leaf === undefined || leaf.pid === poolServer) throw new Error("no instance runs");
  process.kill(leaf.pid, "SIGKILL");
}

const FAULTS: readonly Fault[] = [
  { name: "none", posts: true, happen: () => {} },
  {
    name: "restart.txt",
    posts: true,
    happen: ({ root }) => writeFileSync(join(root, "tmp", "restart.txt"), ""),
  },
  {
    name: "SIGHUP",
    posts: true,
    happen: (scene) => process.kill(scene.server.pids[0] ?? 0, "SIGHUP"),
  },
  { name: "kill -9 of an instance", posts: false, happen: killInstance },
  {
    name: "SIGTERM to a worker",
    posts: true,
    happen: (scene) => process.kill(pidOf(scene, isWorker), "SIGTERM"),
  },
  {
    name: "kill -9 of a worker",
    posts: true,
    happen: (scene) => process.kill(pidOf(scene, isWorker), "SIGKILL"),
  },
  {
    name: "kill -9 of the pool server",
    posts: true,
    happen: (scene) => process.kill(pidOf(scene, isPoolServer), "SIGKILL"),
  },
];

function questions(type: AppType, posts: boolean): Question[] {
  const get: Question = { method: "GET", path: "/", body: "", answer: GREETING[type] };
  const post: Question = { method: "POST", path: "/", body: "x".repeat(1234), answer: "1234" };
  return posts ? [get, get, get, post] : [get];
}

/** Writes the configuration, so that there is something to read again at SIGHUP. */
function configuration(type: AppType, root: string, port: number, workers: number): string {
  return [
    `listen = ["127.0.0.1:${port}"]`,
    `workers = ${workers}`,
    `log.access = "off"`,
    `pool.max = 6`,
    `[[apps]]`,
    `root = "${root}"`,
    `type = "${type}"`,
    "",
  ].join("\n");
}

async function measure(type: AppType, fault: Fault, options: Options, place: string) {
  const root = join(place, "app");
  rmSync(place, { recursive: true, force: true });
  cpSync(join(APPS, type), root, { recursive: true });
  mkdirSync(join(root, "tmp"), { mode: 0o777 });
  chmodSync(join(root, "tmp"), 0o777);
  const port = await freePort();
  const config = join(place, "gateway.toml");
  writeFileSync(config, configuration(type, root, port, options.workers));
  const argv = [options.server, "serve", "--config", config];
  const command = { argv, cwd: place, env: ENVIRONMENT };
  await using server = await StartedServer.start("serve", [command], port, join(place, "log"));
  const asked = questions(type, fault.posts);
  await load(port, options.connections, asked, 500); // Warm.
  const forMs = options.seconds * 1000;
  const running = load(port, options.connections, asked, forMs);
  for (let turn = 0; turn < 2; turn++) {
    await Bun.sleep(forMs / 3);
    fault.happen({ server, root });
  }
  return await running;
}

/** Those that failed, all, and the time of the longest. */
function cell({ failed, requests, longestMs }: Tally): string {
  return `${failed} of ${requests.toLocaleString("en-US")}; ${show(longestMs)}`;
}

/** In which ways they failed. */
function kinds(tally: Tally): string {
  return [...tally.failures].map(([kind, count]) => ` (${count} ${kind})`).join("");
}

/** Runs it (frame.ts). */
export async function benchFaults(args: string[]): Promise<void> {
  const options = readOptions(args);
  await measured("faults", options, async (directory) => {
    const rows: string[][] = [];
    for (const fault of FAULTS.filter(({ name }) => name.includes(options.match))) {
      const row = [fault.name];
      for (const type of options.only) {
        const tally = await measure(type, fault, options, join(directory, type));
        const found = cell(tally);
        say(`${fault.name}, ${type}: ${found} ms${kinds(tally)}`);
        row.push(found);
      }
      rows.push(row);
    }
    const table = markdownTable(["what happens, twice", ...options.only], rows);
    return { text: `${machineLine()}\n\n${table}\n` };
  });
}
