/** Applications below a prefix: what they are told of it, and what visitors and developers are. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** They find pages at `/` and `/NAME/` alone, as routers do that are strict. */
const programs = {
  "node/app.js": `require("http").createServer((request, response) => {
    response.statusCode = ["/node/", "/node/?a=1"].includes(request.url) ? 200 : 404;
    response.setHeader("X-Own", "kept");
    response.end(request.url);
  }).listen(1);`,
  "bun/server.ts": `export default { fetch: (request) => {
    const { pathname } = new URL(request.url);
    return new Response(pathname, { status: pathname === "/bun" ? 200 : 404 });
  } };`,
  "ruby/config.ru": `run ->(env) {
    found = env["PATH_INFO"] == "/"
    [found ? 200 : 404, {}, [env["SCRIPT_NAME"], " ", ENV["RAILS_RELATIVE_URL_ROOT"].to_s]]
  }`,
  "python/wsgi.py": `def application(environ, start_response):
    start_response("200 OK" if environ["PATH_INFO"] == "/" else "404 No", [])
    return [environ["SCRIPT_NAME"].encode()]
`,
};

function serve(more = ""): Gateway {
  const directory = temporaryDirectory();
  for (const [file, text] of Object.entries(programs)) {
    mkdirSync(dirname(join(directory, file)), { recursive: true });
    writeFileSync(join(directory, file), text);
  }
  const tables = ["node", "bun", "ruby", "python"].map((name) => {
    return `[[apps]]\nroot = "${name}"\nprefix = "/${name}"\n`;
  });
  const file = join(directory, "pool.toml");
  const top = 'listen = ["127.0.0.1:0"]\nenvironment = "development"\n';
  writeFileSync(file, `${top}${tables.join("")}${more}`);
  return startGateway(["--config", file]);
}

async function ask(address: string, path: string, method = "GET"): Promise<string> {
  const answer = await fetch(`${address}${path}`, { method, redirect: "manual" });
  const place = answer.headers.get("location");
  return `${answer.status} ${place === null ? "" : `to ${place} `}${await answer.text()}`;
}

test("who finds nothing at the prefix itself is sent to the same with a slash", async () => {
  const gateway = serve();
  const address = await gateway.address();
  expect(await ask(address, "/node")).toBe("302 to /node/ /node");
  expect(await ask(address, "/node?a=1")).toBe("302 to /node/?a=1 /node?a=1");
  expect(await ask(address, "/node/?a=1")).toBe("200 /node/?a=1");
  expect(await ask(address, "/ruby")).toBe("302 to /ruby/ /ruby /ruby");
  expect(await ask(address, "/python")).toBe("302 to /python/ /python");
  // Nothing else is changed: a page that is there, one that is missing elsewhere, another method.
  expect(await ask(address, "/bun")).toBe("200 /bun");
  expect(await ask(address, "/bun/")).toBe("404 /bun/");
  expect(await ask(address, "/node", "POST")).toBe("404 /node");
  const answer = await fetch(`${address}/node`, { redirect: "manual" });
  expect(answer.headers.get("x-own")).toBe("kept");
  await gateway.end();
});

test("in development a page that a program misses is explained once for each of them", async () => {
  const gateway = serve();
  const address = await gateway.address();
  for (const path of ["/node/x", "/node/y", "/bun/x", "/python/", "/node/"]) {
    await ask(address, path);
  }
  const told = () =>
    gateway.log.split("\n").filter((line) => line.includes("not found below a prefix"));
  const lines = await until("both are told", () => told().length >= 2 && told());
  expect(lines.map((line) => line.slice(25))).toEqual([
    'notice not found below a prefix app=node path=/node/x hint="programs see the whole path, ' +
      "but in Ruby and Python: name '/node' in it\"",
    'notice not found below a prefix app=bun path=/bun/x hint="programs see the whole path, ' +
      "but in Ruby and Python: name '/bun' in it\"",
  ]);
  await gateway.end();
});

test("Rails is told the prefix, unless there are several or its configuration says angateway", async () => {
  const gateway = serve();
  expect(await ask(await gateway.address(), "/ruby/")).toBe("200 /ruby /ruby");
  await gateway.end();
  const twice = serve('[[apps]]\nname = "too"\nroot = "ruby"\nprefix = "/too"\n');
  const address = await twice.address();
  expect(await ask(address, "/ruby/")).toBe("200 /ruby ");
  expect(await ask(address, "/too/")).toBe("200 /too ");
  await twice.end();
});
