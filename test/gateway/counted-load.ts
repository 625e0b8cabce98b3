/**
 * A gateway whose every figure is known from outside: a client that counts what it asks and gets,
 * and what the test itself does to processes.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { binaryPath } from "../helpers/binary-server.ts";
import { type Gateway, gatewayEnvironment } from "../helpers/gateway.ts";

/** What a client has counted of an application. */
export interface Counted {
  /** By status. */
  readonly statuses: Map<number, number>;
  /** From the request's first byte to the answer's last. */
  readonly timesMs: number[];
  bytes: number;
}

const program = `import { existsSync } from "node:fs";
const later = async function* () { for (const part of ["a", "bc", "def"]) yield part; };
export default {
  async fetch(request: Request) {
    const { pathname, searchParams } = new URL(request.url);
    const status = Number(searchParams.get("status") ?? 200);
    if (pathname.endsWith("/hold")) {
      while (!existsSync(searchParams.get("until") ?? "/")) await Bun.sleep(5);
    }
    if (pathname.endsWith("/burn")) {
      while (!existsSync(searchParams.get("until") ?? "/")) Math.random();
    }
    if (pathname.endsWith("/stream")) return new Response(later());
    const body = status === 304 ? null : "x".repeat(Number(searchParams.get("bytes") ?? 5));
    return new Response(body, { status, headers: { pid: String(process.pid) } });
  },
};
`;

/** Applications with what differs in their configuration. */
const apps: Readonly<Record<string, string>> = {
  shop: "concurrency = 1\nmax_instances = 1\n",
  blog: "",
  other: "",
  broken: "",
};

/** Lays four applications out, and a configuration of a pool of three. @returns its file. */
export function layOut(directory: string): string {
  for (const name of Object.keys(apps)) {
    mkdirSync(join(directory, name, "public"), { recursive: true });
    const text = name === "broken" ? 'throw new Error("it is broken");\n' : program;
    writeFileSync(join(directory, name, "server.ts"), text);
    writeFileSync(join(directory, name, "public/file.bin"), new Uint8Array(300_000));
  }
  const file = join(directory, "pool.toml");
  const tables = Object.entries(apps).map(
    ([name, more]) => `[[apps]]\nroot = "${name}"\nprefix = "/${name}"\n${more}`,
  );
  const head = `name = "main"\nlisten = ["127.0.0.1:0"]\nadmin.listen = "127.0.0.1:0"\n`;
  const pool = `pool = { max = 3, max_per_app = 2, max_idle_time = "5m" }\n`;
  const log = `log = { level = 1, access = "off" }\n`;
  writeFileSync(file, `${head}${pool}${log}${tables.join("")}`);
  return file;
}

export class Client {
  /** By application; empty: requests that find none. */
  readonly counted = new Map<string, Counted>();
  readonly #address: string;

  constructor(address: string) {
    this.#address = address;
  }

  of(app: string): Counted {
    const known = this.counted.get(app);
    if (known !== undefined) return known;
    const fresh = { statuses: new Map<number, number>(), timesMs: [], bytes: 0 };
    this.counted.set(app, fresh);
    return fresh;
  }

  /** Asks, and counts what comes. @returns the pid that answered, if one says so. */
  async ask(app: string, path: string, method = "GET"): Promise<number> {
    const beganMs = performance.now();
    const answer = await fetch(`${this.#address}/${app === "" ? "none" : app}${path}`, { method });
    const { byteLength } = await answer.arrayBuffer();
    const { statuses, timesMs } = this.of(app);
    timesMs.push(performance.now() - beganMs);
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    this.of(app).bytes += byteLength;
    return Number(answer.headers.get("pid"));
  }

  /** Asks, and leaves before there is an answer. @returns what makes it leave. */
  askInVain(app: string, path: string): () => Promise<void> {
    const leaving = new AbortController();
    const answer = fetch(`${this.#address}/${app}${path}`, { signal: leaving.signal });
    const left = answer.then(
      () => Promise.reject(new Error("it was answered")),
      () => {},
    );
    return async () => {
      leaving.abort();
      await left;
    };
  }

  /** Requests whose status begins with a digit. */
  inClass(app: string, digit: number): number {
    const found = [...this.of(app).statuses].filter(
      ([status]) => Math.floor(status / 100) === digit,
    );
    return found.reduce((sum, [, count]) => sum + count, 0);
  }

  all(app: string): number {
    return this.of(app).timesMs.length;
  }
}

/** What a command of the binary says. */
export async function say(gateway: Gateway, ...words: readonly string[]): Promise<string> {
  await using child = Bun.spawn([binaryPath, ...words, "--pid", String(gateway.pid)], {
    env: gatewayEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  return (await child.stdout.text()) + (await child.stderr.text());
}
