/** What one application may take of the pool, as the configuration file says it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";

import { readServeArguments } from "../../src/cli/serve-options.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();

test("an application has limits of its own, or those of the whole", () => {
  const directory = temporaryDirectory();
  for (const name of ["shop", "blog"]) mkdirSync(join(directory, name));
  const text = `
[pool]
max_queue = 100
[[apps]]
root = "shop"
abandon_timeout = "5s"
request_timeout = "1m"
max_queue = 7
weight = 3
[[apps]]
root = "blog"
prefix = "/blog"
`;
  writeFileSync(join(directory, "pool.toml"), text);
  const config = readServeArguments(["--config", join(directory, "pool.toml")]).readConfig();
  expect(config.apps).toMatchObject([
    { abandonTimeoutMs: 5_000, requestTimeoutMs: 60_000, maxQueue: 7, weight: 3 },
    { abandonTimeoutMs: 30_000, requestTimeoutMs: 0, maxQueue: 100, weight: 1 },
  ]);
});
