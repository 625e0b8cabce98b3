/**
 * The C programs that make the load: compiled into a directory of their own, which goes with this
 * object. One run is one process, one fresh server, and one object of numbers.
 */

import { rmSync } from "node:fs";
import { join } from "node:path";

import { workDirectory } from "../work-directory.ts";

/** What one run found: field name to number; the unit is the end of the name. */
export type Numbers = Readonly<Record<string, number>>;

async function run(command: string[], what: string): Promise<string> {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) {
    throw new Error(`${what}: ${err.trim() || `exit status ${child.exitCode}`}`);
  }
  if (err !== "") process.stderr.write(err);
  return out;
}

function parseNumbers(line: string): Numbers {
  const parsed: unknown = JSON.parse(line);
  if (typeof parsed !== "object" || parsed === null) throw new Error(`load printed ${line}`);
  return Object.fromEntries(Object.entries(parsed).map(([name, value]) => [name, Number(value)]));
}

export class LoadTools {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async compile(): Promise<LoadTools> {
    const compiler = process.env["CC"] ?? "cc";
    if (Bun.which(compiler) === null) {
      throw new Error(`compile scripts/bench/load.c: there is no C compiler called ${compiler}`);
    }
    const tools = new LoadTools(workDirectory("pool-bench-"));
    try {
      for (const name of ["load", "stub"]) {
        const source = join(import.meta.dir, `${name}.c`);
        const command = [compiler, "-O2", "-pthread", "-o", tools.#path(name), source];
        await run(command, `compile ${source}`);
      }
    } catch (error) {
      tools[Symbol.dispose]();
      throw error;
    }
    return tools;
  }

  /** Starts `server` and measures it; `args` are those of scripts/bench/load.c. */
  async run(server: string, args: readonly string[]): Promise<Numbers> {
    const command = [this.#path("load"), server, this.#path("stub"), ...args];
    return parseNumbers(await run(command, `measure ${server} (${args.join(" ")})`));
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}
