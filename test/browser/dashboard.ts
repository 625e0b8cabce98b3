/**
 * The dashboard in a real browser (Debian's chromium), as a person uses it. It is no part of the
 * ordinary tests, since a browser is large: scripts/try-dashboard runs it. With DASHBOARD_PICTURES
 * it writes the pictures of docs/ there, after DASHBOARD_MINUTES of traffic.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import {
  type Gateway,
  gateways,
  runCommand,
  statusOf,
  writeApplication,
} from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const evilName = "<img/src=x/onerror=alert(1)>";
const pictures = process.env["DASHBOARD_PICTURES"] ?? "";
const minutes = Number(process.env["DASHBOARD_MINUTES"] ?? 0);

/** Flags without which a browser as root, in a closed network, does not start. */
const flags = ["--no-sandbox", "--disable-quic", "--disable-component-update", "--disable-sync"];

async function serving(): Promise<Gateway> {
  const directory = temporaryDirectory();
  for (const name of ["shop", "blog", "evil"]) writeApplication(directory, name);
  const broken = join(directory, "broken");
  mkdirSync(broken);
  writeFileSync(join(broken, "server.ts"), 'throw new Error("<script>alert(2)</script>");\n');
  const apps = [
    ["shop", "shop"],
    ["blog", "blog"],
    [pictures === "" ? evilName : "wiki", "evil"],
    ["broken", "broken"],
  ].map(([name, root]) => `[[apps]]\nname = "${name}"\nroot = "${root}"\nprefix = "/${root}"\n`);
  const head = 'listen = ["127.0.0.1:0"]\nname = "main"\n[admin]\nlisten = "127.0.0.1:0"\n';
  const file = join(directory, "pool.toml");
  writeFileSync(file, `${head}[pool]\nmax = 8\n${apps.join("")}`);
  return startGateway(["--config", file]);
}

async function dashboardOf({ pid }: Gateway): Promise<{ url: string; token: string }> {
  const { stdout } = await runCommand("dashboard", "--pid", String(pid));
  const [url = "", token = ""] = stdout.trim().split("/#token=");
  return { url, token };
}

/** A page and what is asked of it in these tests. */
class Page {
  readonly view: Bun.WebView;
  readonly complaints: string[] = [];

  constructor() {
    const backend = { type: "chrome", argv: flags } as const;
    const console = (type: string, ...args: unknown[]): void => {
      this.complaints.push(`${type} ${Bun.inspect(args)}`);
    };
    this.view = new Bun.WebView({ width: 1100, height: 900, backend, console });
  }

  /** What stands in an element; empty: it is not there, or not to be seen. */
  text(selector: string): Promise<string> {
    const found = `document.querySelector(${JSON.stringify(selector)})`;
    const script = `${found}?.checkVisibility() ? ${found}.innerText : ""`;
    return this.view.evaluate<string>(script);
  }

  count(selector: string): Promise<number> {
    const script = `document.querySelectorAll(${JSON.stringify(selector)}).length`;
    return this.view.evaluate<number>(script);
  }

  async shows(selector: string, text: string): Promise<void> {
    let last = "";
    await until(
      `${selector} shows '${text}'`,
      async () => (last = await this.text(selector)).includes(text),
      () => last,
    );
  }

  /** Presses a button as the keyboard does. */
  async press(key: string): Promise<void> {
    const selector = `[data-key=${JSON.stringify(key)}]`;
    await this.view.evaluate(`document.querySelector(${JSON.stringify(selector)}).focus()`);
    await this.view.press("Enter");
  }
}

async function keepBusy(address: string, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const wave = 1 + Math.sin(Date.now() / 40_000);
    await fetch(`${address}/shop/slow?ms=${Math.round(4 + 20 * wave * Math.random())}`);
    if (Math.random() < 0.2) await fetch(`${address}/blog/`);
    if (Math.random() < 0.05) await fetch(`${address}/evil/`);
    await Bun.sleep(60 * wave);
  }
}

async function takePictures(page: Page): Promise<void> {
  await page.view.evaluate("showHour()");
  for (const scheme of ["light", "dark"]) {
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    await page.view.cdp("Emulation.setEmulatedMedia", { features });
    await Bun.write(join(pictures, `dashboard-${scheme}.png`), await page.view.screenshot());
  }
}

test("the dashboard shows what happens, changes what it is told to, and believes no tenant", async () => {
  const gateway = await serving();
  const address = await gateway.address();
  const { url, token } = await dashboardOf(gateway);
  let isOver = false;
  const traffic = [1, 2, 3].map(() => keepBusy(address, () => isOver));
  await fetch(`${address}/broken/`);
  await fetch(`${address}/evil/`);
  const page = new Page();
  const { view } = page;

  await view.navigate(`${url}/`);
  await page.shows("#link", "the token is wanted");
  expect(await page.text("#main")).toBe("");
  await view.click("#token");
  await view.type("wrong");
  await view.press("Enter");
  await page.shows("#link", "this is not the token");
  await view.evaluate('document.querySelector("#token").value = ""');
  await view.click("#token");
  await view.type(token);
  await view.press("Enter");
  await page.shows("#link", "live");
  await page.shows("#title", "main");
  if (pictures === "") await page.shows("#apps", evilName);
  await page.shows("#errors", "broken");
  await page.shows("#errors", "<script>alert(2)</script>");
  expect(await page.count("main img, main script, main iframe")).toBe(0);
  await until(
    "there are cells",
    async () => (await page.count(".cell.active, .cell.idle, .cell.busy")) >= 3,
  );
  const places = (await statusOf(gateway)).pool?.limits.max;
  await until("each place is a cell", async () => (await page.count(".cell")) === places);
  await until("requests are counted", async () =>
    /^[1-9]/.test(await page.text('#apps tr td[data-title="Req/s"]')),
  );

  const keys =
    '[...document.querySelectorAll("#apps [data-key^=restart]")].map((e) => e.dataset.key)';
  expect(await view.evaluate(keys)).toContain("restart shop");
  await page.press("restart shop");
  await page.shows("#said", "restart shop: done");
  await page.shows("#notes", "shop: restart");
  await page.shows("#notes", "ended");
  await page.press("pause blog");
  await page.shows("#apps tr:nth-child(2)", "paused");
  const focused = "document.activeElement.dataset.key";
  await page.shows("#apps tr:nth-child(2)", "Resume");
  expect(await view.evaluate(focused)).toBe("pause blog");
  await view.press("Enter");
  await page.shows("#notes", "blog: resumed");
  const cell = await view.evaluate<string>(
    'document.querySelector(".cell.active, .cell.idle, .cell.busy").dataset.key',
  );
  await page.press(cell);
  await page.shows("#chosen", "Detach");
  await page.press("detach");
  await page.shows("#said", "detach");
  await page.shows("#notes", `${cell.slice("pid ".length)} ended`);
  await page.shows("#chosen", "is gone");
  const pids = async () =>
    (await statusOf(gateway)).pool?.applications.flatMap(({ instances }) => instances) ?? [];
  const [victim] = await until("there is a process", async () => {
    const found = await pids();
    return found.length > 0 && found;
  });
  if (victim !== undefined) process.kill(victim.pid, "SIGKILL");
  await page.shows("#notes", `${victim?.pid} died`);
  await page.press("app blog");
  await page.shows("#chartOf", "blog");
  await until("there are charts", async () => (await page.count("#charts svg[aria-label]")) === 4);

  await view.resize(360, 740);
  const widths = "[document.scrollingElement.scrollWidth, innerWidth]";
  const [wide = 0, room = 0] = await view.evaluate<number[]>(widths);
  expect(wide).toBeLessThanOrEqual(room);
  await view.resize(1100, 900);
  const background = "getComputedStyle(document.body).backgroundColor";
  const light = await view.evaluate(background);
  const features = [{ name: "prefers-color-scheme", value: "dark" }];
  await view.cdp("Emulation.setEmulatedMedia", { features });
  expect(await view.evaluate(background)).not.toBe(light);

  if (pictures !== "") {
    await page.press("app shop");
    await Bun.sleep(minutes * 60_000);
    await takePictures(page);
  }
  isOver = true;
  await Promise.all(traffic);
  expect(page.complaints).toEqual([]);
  view.close();
  Bun.WebView.closeAll();
  await gateway.end();
}, 3_600_000);
