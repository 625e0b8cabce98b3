/**
 * A process that dies takes along the requests that it has read. What it has not read goes to
 * another one, whatever its method.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { type Gateway, gateways, statusOf } from "../helpers/gateway.ts";
import { languages } from "../helpers/languages.ts";
import { stop } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** As large as what is read at once, with its head. */
const body = "x".repeat(15_000);

/**
 * The process of the only application, once it has so many sessions, and is done with so many
 * others.
 */
async function processWith(gateway: Gateway, sessions: number, served: number): Promise<number> {
  let seen: unknown;
  return until(
    `it has ${sessions} sessions`,
    async () => {
      const { pool } = await statusOf(gateway);
      const [instance] = (seen = pool?.applications[0]?.instances ?? []);
      if (instance?.sessions !== sessions || instance.served !== served) return undefined;
      return instance.closing === 0 && instance.pid;
    },
    () => seen,
  );
}

test.each(languages.map((language) => [language.name, language] as const))(
  "%s: a POST that was read is lost with the process, one that was not is not",
  async (_name, { file, options, programs }) => {
    const directory = temporaryDirectory();
    const root = join(directory, "app");
    mkdirSync(root);
    writeFileSync(join(root, file), programs["answers late"]);
    const config = join(directory, "pool.toml");
    const { appType, spawnMethod = "smart" } = options;
    const app = `root = "app"\ntype = "${appType}"\nspawn_method = "${spawnMethod}"\n`;
    writeFileSync(config, `listen = ["127.0.0.1:0"]\nworkers = 1\n[[apps]]\n${app}`);
    const gateway = startGateway(["--config", config]);
    const address = await gateway.address();
    const begun = (): number => gateway.log.match(/begins/g)?.length ?? 0;

    const read = fetch(address, { method: "POST", body });
    await gateway.logged("begins");
    process.kill(await processWith(gateway, 1, 0), "SIGKILL");
    expect((await read).status).toBe(502);
    expect(begun()).toBe(1);

    writeFileSync(join(root, "go"), "");
    expect(await (await fetch(address)).text()).toStartWith("late");
    const first = await processWith(gateway, 0, 1);
    await stop(first);
    const unread = fetch(address, { method: "POST", body });
    expect(await processWith(gateway, 1, 1)).toBe(first);
    process.kill(first, "SIGKILL");
    const answer = await unread;
    expect([answer.status, (await answer.text()).slice(0, 4)]).toEqual([200, "late"]);
    await until("it has begun once more", () => begun() === 3);
    await gateway.end();
  },
);
