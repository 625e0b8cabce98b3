/** Workers of a gateway that is root run as the user that was asked for. Only root can try. */
import { expect, test } from "bun:test";
import { chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { findUser } from "../../src/native/process.ts";
import { until } from "../helpers/condition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** Ids of a process, real to file system, as /proc shows them (proc(5)). */
function idsOf(pid: number, kind: "Uid" | "Gid" | "Groups"): string[] {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const [, ids = ""] = new RegExp(`^${kind}:\\s*(.*)$`, "m").exec(status) ?? [];
  return ids.split(/\s+/).filter((id) => id !== "");
}

/** On a connection of its own: one that is kept would keep a worker. */
async function ask(url: string): Promise<string> {
  return (await fetch(url, { keepalive: false })).text();
}

test.skipIf(process.geteuid?.() !== 0)(
  "worker_user: workers have its ids and groups, serve files and requests, and can be reloaded",
  async () => {
    const directory = temporaryDirectory();
    const nobody = findUser("nobody");
    if (nobody === undefined) throw new Error("there is no nobody");
    const app = writeApplication(directory);
    mkdirSync(join(app, "public"));
    writeFileSync(join(app, "public/file.txt"), "a file");
    writeFileSync(join(app, "public/secret.txt"), "root's", { mode: 0o600 });
    const logs = join(directory, "logs");
    mkdirSync(logs);
    chownSync(logs, nobody.uid, nobody.gid);
    const file = join(directory, "pool.toml");
    writeFileSync(
      file,
      'listen = ["127.0.0.1:0"]\nworker_user = "nobody"\n' +
        '[log]\nlevel = 1\naccess_file = "logs/access.log"\n[[apps]]\nroot = "app"\n',
    );
    const gateway = startGateway(["--config", file]);
    const address = await gateway.address();
    const [worker] = gateway.workers;
    const pid = worker?.pid ?? 0;
    expect(idsOf(pid, "Uid")).toEqual(Array.from({ length: 4 }, () => String(nobody.uid)));
    expect(idsOf(pid, "Gid")).toEqual(Array.from({ length: 4 }, () => String(nobody.gid)));
    expect(idsOf(pid, "Groups")).not.toContain("0");
    expect(await ask(`${address}/path`)).toStartWith("app /path ");
    expect(await ask(`${address}/file.txt`)).toBe("a file");
    // What only root may read is left to the application.
    expect(await ask(`${address}/secret.txt`)).toStartWith("app /secret.txt ");
    gateway.signal("SIGHUP");
    await until("it is reloaded", () => gateway.log.includes("configuration reloaded"));
    await until("the old worker has left", () => gateway.workers.every((one) => one.pid !== pid));
    expect(await ask(`${address}/again`)).toStartWith("app /again ");
    await gateway.end();
    expect(readFileSync(join(logs, "access.log"), "utf8").split("\n")).toHaveLength(5);
  },
);
