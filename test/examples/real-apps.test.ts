/** Real applications, as scripts/real-apps.ts tries them: those that cost no more than seconds. */
import { afterAll, expect, test } from "bun:test";

import { StartedServer } from "../../scripts/bench/started-server.ts";
import { realApps } from "../../scripts/real-apps/all.ts";
import { tryApp } from "../../scripts/real-apps/trial.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const quick = realApps.filter(({ isQuick }) => isQuick);

afterAll(() => StartedServer.stopAll());

test("there are some of each kind", () => {
  const kinds = new Set(quick.map(({ type }) => type));
  expect([...kinds].toSorted()).toEqual(["asgi", "bun", "command", "node", "rack", "wsgi"]);
});

for (const app of quick) {
  test(`${app.name} is served as it is: ${app.tried}`, async () => {
    await tryApp(app, temporaryDirectory());
  }, 120_000);
}
