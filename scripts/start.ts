/**
 * The gateway with all the example applications whose runtime this machine has, each below a path
 * of its own, until Ctrl-C. The examples are copied to a temporary directory first, so that they
 * can be changed at will and the checkout stays as it is; it is removed at the end.
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { findApplication, type LoaderType } from "../src/spawn/builtin/app-type.ts";
import { fromText } from "../src/wire/bytes.ts";

interface Example {
  readonly name: string;
  readonly loader: LoaderType;
}

const examples = join(import.meta.dir, "../examples");
const executable = join(import.meta.dir, "../dist/ApplicationPoolServerExecutable");

const python = { needs: "Python 3", probe: ["python3", "-c", ""] };

/** What each kind of application is, and what shows that the machine can run it. */
const kinds: Readonly<Record<LoaderType, { what: string; needs: string; probe?: string[] }>> = {
  rack: {
    what: "Ruby, Rack",
    needs: "Ruby with the rack gem (Debian: ruby-rack)",
    probe: ["ruby", "-e", "require 'rack'"],
  },
  wsgi: { what: "Python, WSGI", ...python },
  asgi: { what: "Python, ASGI", ...python },
  python: { what: "Python, WSGI", ...python },
  node: { what: "JavaScript on Node", needs: "Node", probe: ["node", "--version"] },
  bun: { what: "TypeScript on Bun", needs: "nothing" },
  command: { what: "any program", needs: "nothing" },
};

/** Whether a command runs and succeeds. */
function works(command: readonly string[] | undefined): boolean {
  if (command === undefined) return true;
  const [program = ""] = command;
  if (Bun.which(program) === null) return false;
  return Bun.spawnSync([...command], { stdio: ["ignore", "ignore", "ignore"] }).success;
}

/** All there are; the simplest comes first. */
function findExamples(): Example[] {
  const names = readdirSync(examples).toSorted();
  return ["hello", ...names.filter((name) => name !== "hello")].flatMap((name) => {
    try {
      const { loader } = findApplication(fromText(join(examples, name)), "auto", true);
      return [{ name, loader }];
    } catch {
      return []; // no application, but for example programs that use the pool
    }
  });
}

/** What is at `/`: a page with links to the others, which needs no process. */
function writeIndex(directory: string, served: readonly Example[]): void {
  const links = served.map(
    ({ name, loader }) => `<li><a href="/${name}/">${name}</a>: ${kinds[loader].what}`,
  );
  const title = "Applications of this pool";
  const page = `<!DOCTYPE html>\n<title>${title}</title>\n<h1>${title}</h1>\n<ul>\n`;
  mkdirSync(join(directory, "index/public"), { recursive: true });
  writeFileSync(join(directory, "index/public/index.html"), `${page}${links.join("\n")}\n</ul>\n`);
  const rest = 'new Response("There is nothing here.\\n", { status: 404 })';
  writeFileSync(join(directory, "index/server.ts"), `export default { fetch: () => ${rest} };\n`);
}

/** Copies the examples and writes the gateway's configuration. @returns the file. */
function prepare(directory: string, served: readonly Example[]): string {
  // As root the pool runs applications as another user, who has to be able to read them.
  chmodSync(directory, 0o755);
  const apps = served.map(({ name }) => {
    cpSync(join(examples, name), join(directory, name), { recursive: true });
    mkdirSync(join(directory, name, "tmp"));
    return `[[apps]]\nroot = "${name}"\nprefix = "/${name}"\n`;
  });
  writeIndex(directory, served);
  apps.unshift('[[apps]]\nroot = "index"\n');
  const file = join(directory, "pool.toml");
  const log = '[log]\naccess = "off"\nlevel = 1\n';
  const head = `environment = "development"\n\n${log}\n[admin]\nlisten = "127.0.0.1:0"\n`;
  writeFileSync(file, [head, ...apps].join("\n"));
  return file;
}

function tell(url: string, directory: string, served: readonly Example[]): void {
  const rows = served.map(
    ({ name, loader }) => `  ${`${url}/${name}/`.padEnd(36)} ${kinds[loader].what}`,
  );
  rows.unshift(`  ${`${url}/`.padEnd(36)} links to all of them`);
  const missing = findExamples().filter(({ name }) => !served.some((one) => one.name === name));
  const absent = missing.map(
    ({ name, loader }) => `  not served: ${name}, which needs ${kinds[loader].needs}`,
  );
  const [first = { name: "" }] = served;
  console.log(`
Open in a browser, or with curl:

${[...rows, ...absent].join("\n")}

Try, in another terminal:

  curl -i ${url}/${first.name}/
  ${executable} status --watch
  ${executable} dashboard       # where a browser shows the same

Change an application below ${directory}, then:

  ${executable} restart ${first.name}     # or: touch ${directory}/${first.name}/tmp/restart.txt

Change ${directory}/pool.toml, then have it read anew, or only checked:

  ${executable} reload
  ${executable} serve --check --config ${directory}/pool.toml

Kill what \`status\` shows, with kill -9: an application's process, a worker, the pool server. The
next request is answered by another. Ctrl-C here ends it all.
`);
}

let child: Bun.Subprocess<"ignore", "pipe", "inherit"> | undefined;
let isEnding = false;

/** Passes signals on to the gateway: the first lets it finish requests, a second does not. */
function passSignalsOn(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      isEnding = true;
      child?.kill("SIGTERM");
    });
  }
}

/** Serves what this machine can run. @returns the gateway's exit status. */
async function serve(directory: string, args: readonly string[]): Promise<number> {
  const served = findExamples().filter(({ loader }) => works(kinds[loader].probe));
  const file = prepare(directory, served);
  if (isEnding) return 0;
  child = Bun.spawn([executable, "serve", "--config", file, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    // In a session of its own, so that Ctrl-C reaches it once: through us.
    detached: true,
  });
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    process.stdout.write(text);
    const [, url] = /^listening on (http.*)$/m.exec(text) ?? [];
    if (url !== undefined) tell(url, directory, served);
  }
  return child.exited;
}

passSignalsOn();
const directory = mkdtempSync(join(tmpdir(), "pool-start-"));
try {
  process.exitCode = await serve(directory, process.argv.slice(2));
} finally {
  rmSync(directory, { recursive: true, force: true });
}
