/** The request of nobody's that a worker answers before its first visitor comes. */
import { expect, test } from "bun:test";

import { rehearsal } from "../../src/gateway/worker/rehearsal.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { app, configOf } from "./support.ts";

countDescriptors();

test("it is answered as an application's, whatever kinds there are, and leaves no descriptor", async () => {
  for (const type of ["rack", "bun", "command", "static"] as const) {
    const apps = [app("main", { type, hosts: ["example.com"], prefix: "/below" })];
    expect(await rehearsal(configOf({ apps }))()).toBe(200);
  }
});

test("where nothing is served it ends, too", async () => {
  expect(await rehearsal(configOf({ apps: [] }))()).toBe(404);
});
