/** `[apps.limits]` through `serve`: what the processes of each kind have, and what is too much. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { getLimit, resources } from "../../src/native/process.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** @param wrapper what is put in front of the command. */
function start(
  file: string,
  program: string,
  settings: string,
  wrapper: readonly string[] = [],
): Gateway {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app"));
  writeFileSync(join(directory, "app", file), program);
  const config = join(directory, "pool.toml");
  const lines = ['listen = ["127.0.0.1:0"]', "[[apps]]", 'root = "app"', settings];
  writeFileSync(config, lines.join("\n"));
  return startGateway(["--config", config], { wrapper });
}

const programs: readonly (readonly [kind: string, file: string, program: string, more: string])[] =
  [
    [
      "forked by a preloader",
      "config.ru",
      `run ->(_) { [200, {}, [File.read("/proc/self/limits")]] }\n`,
      "",
    ],
    [
      "started by itself",
      "passenger_wsgi.py",
      `def application(environ, start_response):
    start_response("200 OK", [])
    return [open("/proc/self/limits", "rb").read()]
`,
      'spawn_method = "conservative"\n',
    ],
    [
      "of a command",
      "program.py",
      `import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(open("/proc/self/limits", "rb").read())
address = (os.environ["HOST"], int(os.environ["PORT"]))
http.server.HTTPServer(address, Handler).serve_forever()
`,
      'command = "/usr/bin/python3 program.py"\n',
    ],
  ];

test.each(programs)("a process %s has the limits that it was given", async (...of) => {
  const [, file, program, more] = of;
  const gateway = start(
    file,
    program,
    `${more}[apps.limits]
open_files = "500:1000"
core = "0"
file_size = "1g"
address_space = "2g"
cpu_time = "10m:1h"
`,
  );
  const answer = await (await fetch(await gateway.address())).text();
  expect(answer).toMatch(/^Max open files +500 +1000 /m);
  expect(answer).toMatch(/^Max core file size +0 +0 /m);
  expect(answer).toMatch(/^Max file size +1073741824 +1073741824 /m);
  expect(answer).toMatch(/^Max address space +2147483648 +2147483648 /m);
  expect(answer).toMatch(/^Max cpu time +600 +3600 /m);
  await gateway.end();
});

test("what cannot be started says so, however little memory it may address", async () => {
  const limits = 'command = "/nowhere/program"\nshow_errors = true\n[apps.limits]\n';
  const gateway = start("x", "", `${limits}address_space = "16m"\n`);
  const answer = await fetch(await gateway.address());
  expect(answer.status).toBe(500);
  expect(await answer.text()).toContain("ENOENT");
  await gateway.end();
});

test("more than the server may have is said once; the application has that much", async () => {
  const { hard } = getLimit(resources.openFiles);
  const program = `export default { async fetch() {
  return new Response(await Bun.file("/proc/self/limits").text());
} };\n`;
  const limits = `[apps.limits]\nopen_files = "100:${hard + 1n}"\n`;
  const gateway = start("server.ts", program, limits);
  const address = await gateway.address();
  const text = await (await fetch(address)).text();
  // Bun raises its soft limit to the hard one.
  expect(text).toMatch(new RegExp(`^Max open files +\\d+ +${hard} `, "m"));
  await gateway.logged(`limits.open_files`, `the server may have ${hard} itself`);
  expect(gateway.log.split("limits.open_files").length).toBe(2);
  await gateway.end();
});

test("of several limits that are not kept one sentence tells, with the cause of each", async () => {
  const program = "export default { fetch: () => new Response() };\n";
  const limits = '[apps.limits]\ncore = "9k"\nfile_size = "1g:2g"\ncpu_time = "1h:2h"\n';
  const bounds = ["prlimit", "--core=8192:8192", "--fsize=1073741824:1073741824"];
  const gateway = start("server.ts", program, limits, bounds);
  await (await fetch(await gateway.address())).text();
  await gateway.logged(
    'limits are not kept, applications run without keys="limits.core, limits.file_size" ',
    "limits.core: the server may have 8192 itself",
    "limits.file_size: the server may have 1073741824 itself",
  );
  expect(gateway.log.split("are not kept").length).toBe(2);
  await gateway.end();
});
