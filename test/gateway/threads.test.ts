/** Applications with threads behind `serve`, the compiled binary, as visitors meet them. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { gateways } from "../helpers/gateway.ts";
import { isRunning } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { writeApp } from "../spawn/support.ts";
import { threadPrograms } from "../spawn/thread-programs.ts";
import { debianPath } from "../spawn/wsgi-programs.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

describe.each(["rack", "wsgi"] as const)("%s:", (kind) => {
  async function start(settings: string, ...options: readonly string[]) {
    const directory = temporaryDirectory();
    const root = writeApp(directory, "app", threadPrograms[kind]);
    const file = join(directory, "pool.toml");
    const app = `[[apps]]\nroot = "app"\n${settings}[apps.env]\nPATH = "${debianPath}"\n`;
    writeFileSync(file, `listen = ["127.0.0.1:0"]\n${app}`);
    const gateway = startGateway(["--config", file, ...options]);
    const url = (await gateway.address()).replace(/\/$/, "");
    const ask = async (path: string, init?: RequestInit) => {
      const answer = await fetch(url + path, { keepalive: false, ...init });
      return `${answer.status} ${await answer.text()}`;
    };
    const isSaid = (text: string) =>
      until(
        `'${text}' is logged`,
        () => gateway.log.includes(text),
        () => gateway.log,
      );
    const goOn = () => writeFileSync(join(root, "go-on"), "");
    const pid = Number((await ask("/process")).replace("200 ", ""));
    return { gateway, ask, isSaid, goOn, pid };
  }

  test("ten requests are in two processes of five threads at once", async () => {
    const { gateway, ask, goOn } = await start("", "--threads", "5", "--max", "2");
    const answers = Array.from({ length: 12 }, () => ask("/wait"));
    const waiting = () => gateway.log.match(/(?<=waits in )\d+/g) ?? [];
    await until("ten wait", () => waiting().length >= 10, waiting);
    const ten = waiting();
    expect(ten.length).toBe(10);
    const processes = [...new Set(ten)];
    const each = processes.map((it) => ten.filter((other) => other === it).length);
    expect(each).toEqual([5, 5]);
    goOn();
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 12 }, () => "200 ok"));
    await gateway.end();
  });

  test("a request whose visitor has left ends its process, and those beside it finish", async () => {
    const settings = 'threads = 5\nmax_instances = 1\nabandon_timeout = "100ms"\n';
    const { gateway, ask, isSaid, goOn, pid } = await start(settings);
    const other = ask("/wait");
    await isSaid("waits in ");
    const leaving = new AbortController();
    const stuck = ask("/stuck", { signal: leaving.signal }).catch(() => "left");
    await isSaid("is stuck");
    leaving.abort();
    expect(await stuck).toBe("left");
    await isSaid(kind === "rack" ? 'serving GET "/stuck"' : "serving GET '/stuck'");
    goOn();
    expect(await other).toBe("200 ok");
    await until("it is gone", () => !isRunning(pid));
    expect(await ask("/process")).not.toBe(`200 ${pid}`);
    await gateway.end();
  });

  test("a request that takes too long is a 504, and its process is ended", async () => {
    const settings = 'threads = 5\nmax_instances = 1\nrequest_timeout = "500ms"\n';
    const { gateway, ask, pid } = await start(settings);
    expect(await ask("/stuck")).toStartWith("504 ");
    await until("it is gone", () => !isRunning(pid));
    await until("another answers", async () => {
      const answer = await ask("/process");
      return answer.startsWith("200 ") && answer !== `200 ${pid}`;
    });
    await gateway.end();
  });
});
