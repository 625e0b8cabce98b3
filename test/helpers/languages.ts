/**
 * The same small programs in every language that the built-in spawner starts: each behaviour as the
 * text of a startup file. Those for Python and Ruby run both ways, forked by a preloader and by
 * themselves.
 */
import type { GetOptions } from "./raw-client.ts";

export type Behaviour =
  /** Answers its process id. */
  | "serves"
  /** Says why on stderr and exits with status 3 while it is loaded. */
  | "exits"
  /** Ends itself by SIGKILL while it is loaded. */
  | "dies"
  /** Sends an array message of one element, `abc`, on descriptor 4. */
  | "garbles"
  /** Sends the beginning of a message on descriptor 4 and exits. */
  | "breaks off"
  /** Writes 10 MB of output while it is loaded, then raises `after the flood`. */
  | "floods"
  /** Closes its stdout and stderr, then serves as the first does. */
  | "closes output"
  /** Loads for ever. */
  | "hangs"
  /** On a request, starts a daemon in its own session that holds all it has; answers its pid. */
  | "daemonizes"
  /** On a request, starts a program in its own process group, and leaves it; answers its pid. */
  | "has a helper"
  /** On a request, starts a child that ignores SIGTERM, says `child PID`, and is stuck as it is. */
  | "is stuck"
  /** On a request for /block, says `blocked` and is, deaf to SIGTERM; answers its pid to others. */
  | "blocks"
  /** On a request, says `begins`, waits for a file `go`, writes 1,000 lines and answers. */
  | "answers late"
  /** Ends itself by SIGKILL at each request. */
  | "crashes";

export interface Language {
  readonly name: string;
  /** How a get asks for it. */
  readonly options: GetOptions;
  /** Its startup file. */
  readonly file: string;
  readonly programs: Readonly<Record<Behaviour, string>>;
}

const stubbornChild = "trap '' TERM; while :; do sleep 1; done";

/** Blocks the only thread of a JavaScript program without using a processor. */
const blockJs = `process.on("SIGTERM", () => {});
      require("fs").writeSync(1, "blocked\\n");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`;

const bunServes = "export default { fetch: () => new Response(String(process.pid)) };";

const bun: Language = {
  name: "bun",
  options: { appType: "bun" },
  file: "server.ts",
  programs: {
    serves: bunServes,
    exits: 'console.error("this is why"); process.exit(3);',
    dies: 'process.kill(process.pid, "SIGKILL"); await new Promise(() => {});',
    garbles: 'require("fs").writeSync(4, "\\0\\4abc\\0"); setInterval(() => {}, 1000);',
    "breaks off": 'require("fs").writeSync(4, "\\0\\x20ready"); process.exit(0);',
    floods: `const line = "x".repeat(99) + "\\n";
      for (let i = 0; i < 100_000; i += 1) require("fs").writeSync(1, line);
      throw new Error("after the flood");`,
    "closes output": `require("fs").closeSync(1); require("fs").closeSync(2); ${bunServes}`,
    hangs: "setInterval(() => {}, 1000); await new Promise(() => {});",
    daemonizes: `export default { fetch: async () => {
      const start = "exec setsid sh -c 'sleep 1000 5>&- & echo $! >&5'";
      const child = Bun.spawn(["sh", "-c", start],
        { stdio: ["ignore", "inherit", "inherit", 3, 4, "pipe"] });
      await child.exited;
      return new Response(await Bun.file(child.stdio[5]).text());
    } };`,
    "has a helper": `export default { fetch: () => {
      const child = Bun.spawn(["sleep", "1000"], { stdio: ["ignore", "ignore", "ignore"] });
      return new Response(String(child.pid));
    } };`,
    "is stuck": `export default { fetch: () => {
      const child = Bun.spawn(["sh", "-c", ${JSON.stringify(stubbornChild)}]);
      require("fs").writeSync(1, "child " + child.pid + "\\n");
      process.on("SIGTERM", () => {});
      for (;;);
    } };`,
    blocks: `export default { fetch: ({ url }) => {
      if (url.endsWith("/block")) { ${blockJs} }
      return new Response(String(process.pid));
    } };`,
    "answers late": `export default { fetch: async () => {
      const { existsSync, writeSync } = require("fs");
      writeSync(1, "begins\\n");
      while (!existsSync("go")) await Bun.sleep(5);
      for (let n = 0; n < 1000; n += 1) writeSync(1, "line " + n + "\\n");
      return new Response("late ".repeat(100_000));
    } };`,
    crashes: `export default { fetch: () => {
      process.kill(process.pid, "SIGKILL"); return new Promise(() => {});
    } };`,
  },
};

type Python = (body: string) => string;

/** A program that begins with `path` and ends with `answer`. */
const forWsgi: Python = (body) => `import os, signal, subprocess, sys, time
def application(environ, start_response):
    path = environ["PATH_INFO"]
    ${body.trim().split("\n").join("\n    ")}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(answer).encode()]
`;

const forAsgi: Python = (body) => `import os, signal, subprocess, sys, time
async def application(scope, receive, send):
    path = scope["path"]
    ${body.trim().split("\n").join("\n    ")}
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(answer).encode()})
`;

const pythonPrograms = (python: Python): Language["programs"] => ({
  serves: python("answer = os.getpid()"),
  exits: 'import os\nos.write(2, b"this is why\\n")\nos._exit(3)\n',
  dies: "import os\nos.kill(os.getpid(), 9)\n",
  garbles: 'import os, time\nos.write(4, b"\\0\\4abc\\0")\ntime.sleep(1000)\n',
  "breaks off": 'import os\nos.write(4, b"\\0\\x20ready")\nos._exit(0)\n',
  floods: `import os
for _ in range(100_000):
    os.write(1, b"x" * 99 + b"\\n")
raise RuntimeError("after the flood")
`,
  "closes output": `import os\nos.close(1)\nos.close(2)\n${python("answer = os.getpid()")}`,
  hangs: "import time\ntime.sleep(1000)\n",
  daemonizes: python(`
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    daemon = os.fork()
    if daemon == 0:
        time.sleep(1000)
    os.write(writer, str(daemon).encode())
    os._exit(0)
os.wait()
answer = os.read(reader, 20).decode()
os.close(reader)
os.close(writer)`),
  "has a helper": python("answer = subprocess.Popen(['sleep', '1000']).pid"),
  "is stuck": python(`
child = subprocess.Popen(["sh", "-c", "${stubbornChild}"])
os.write(1, b"child %d\\n" % child.pid)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
while True: time.sleep(1)
answer = ""`),
  blocks: python(`
if path == "/block":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    os.write(1, b"blocked\\n")
    time.sleep(1000)
answer = os.getpid()`),
  "answers late": python(`
os.write(1, b"begins\\n")
while not os.path.exists("go"): time.sleep(0.005)
for n in range(1000): os.write(1, b"line %d\\n" % n)
answer = "late " * 100_000`),
  crashes: python("os.kill(os.getpid(), 9)\nanswer = ''"),
});

function wsgi(spawnMethod: string): Language {
  return {
    name: `wsgi, ${spawnMethod}`,
    options: { appType: "wsgi", spawnMethod },
    file: "passenger_wsgi.py",
    programs: pythonPrograms(forWsgi),
  };
}

function asgi(spawnMethod: string): Language {
  return {
    name: `asgi, ${spawnMethod}`,
    options: { appType: "asgi", spawnMethod },
    file: "asgi.py",
    programs: pythonPrograms(forAsgi),
  };
}

function ruby(body: string): string {
  return `run(lambda do |env|
  ${body.trim().split("\n").join("\n  ")}
  [200, { "content-type" => "text/plain" }, [answer.to_s]]
end)
`;
}

const rubyServes = ruby("answer = Process.pid");

/** Descriptor 4 belongs to the loader: a second object for it must not close it when collected. */
const lifeline = "lifeline = IO.for_fd(4, autoclose: false)\n";

const rubyPrograms: Language["programs"] = {
  serves: rubyServes,
  exits: 'STDERR.write("this is why\\n")\nexit!(3)\n',
  dies: 'Process.kill("KILL", Process.pid)\nsleep\n',
  garbles: `${lifeline}lifeline.syswrite("\\0\\x04abc\\0")\nsleep\n`,
  "breaks off": `${lifeline}lifeline.syswrite("\\0\\x20ready")\nexit!(0)\n`,
  floods:
    'line = "x" * 99 + "\\n"\n100_000.times { STDOUT.write(line) }\nraise "after the flood"\n',
  "closes output": `STDOUT.close\nSTDERR.close\n${rubyServes}`,
  hangs: "sleep\n",
  daemonizes: ruby(`
reader, writer = IO.pipe
child = fork do
  Process.setsid
  writer.write(fork { writer.close; sleep })
  exit!(0)
end
writer.close
answer = reader.read
Process.wait(child)
reader.close`),
  "has a helper": ruby('answer = spawn("sleep", "1000")'),
  "is stuck": ruby(`
child = spawn("sh", "-c", "${stubbornChild}")
STDOUT.syswrite("child #{child}\\n")
trap("TERM", "IGNORE")
loop { sleep 1 }
answer = ""`),
  blocks: ruby(`
if env["PATH_INFO"] == "/block"
  trap("TERM", "IGNORE")
  STDOUT.syswrite("blocked\\n")
  sleep
end
answer = Process.pid`),
  "answers late": ruby(`
STDOUT.syswrite("begins\\n")
sleep(0.005) until File.exist?("go")
1000.times { |n| STDOUT.syswrite("line #{n}\\n") }
answer = "late " * 100_000`),
  crashes: ruby('Process.kill("KILL", Process.pid)\nsleep\nanswer = ""'),
};

function rack(spawnMethod: string): Language {
  return {
    name: `rack, ${spawnMethod}`,
    options: { appType: "rack", spawnMethod },
    file: "config.ru",
    programs: rubyPrograms,
  };
}

function nodeServer(body: string): string {
  return `const { closeSync, writeSync } = require("node:fs");
const { spawn, spawnSync } = require("node:child_process");
require("node:http").createServer((request, response) => { ${body} }).listen(3000);
`;
}

const nodeServes = nodeServer("response.end(String(process.pid));");

const node: Language = {
  name: "node",
  options: { appType: "node" },
  file: "app.js",
  programs: {
    serves: nodeServes,
    exits: 'console.error("this is why"); process.exit(3);',
    dies: 'process.kill(process.pid, "SIGKILL"); for (;;);',
    garbles: 'require("fs").writeSync(4, "\\0\\4abc\\0"); setInterval(() => {}, 1000);',
    "breaks off": 'require("fs").writeSync(4, "\\0\\x20ready"); process.exit(0);',
    floods: `const line = "x".repeat(99) + "\\n";
      for (let i = 0; i < 100_000; i += 1) require("fs").writeSync(1, line);
      throw new Error("after the flood");`,
    "closes output": `require("fs").closeSync(1); require("fs").closeSync(2); ${nodeServes}`,
    hangs: "setInterval(() => {}, 1000);",
    daemonizes: nodeServer(`
      const start = "exec setsid sh -c 'sleep 1000 5>&- & echo $! >&5'";
      const stdio = ["ignore", "inherit", "inherit", 3, 4, "pipe"];
      response.end(spawnSync("sh", ["-c", start], { stdio }).output[5]);`),
    "has a helper": nodeServer(`
      const child = spawn("sleep", ["1000"], { stdio: "ignore" });
      child.unref();
      response.end(String(child.pid));`),
    "is stuck": nodeServer(`
      const child = spawn("sh", ["-c", ${JSON.stringify(stubbornChild)}]);
      writeSync(1, "child " + child.pid + "\\n");
      process.on("SIGTERM", () => {});
      for (;;);`),
    blocks: nodeServer(`
      if (request.url === "/block") { ${blockJs} }
      response.end(String(process.pid));`),
    "answers late": nodeServer(`
      const { existsSync } = require("node:fs");
      writeSync(1, "begins\\n");
      const timer = setInterval(() => {
        if (!existsSync("go")) return;
        clearInterval(timer);
        for (let n = 0; n < 1000; n += 1) writeSync(1, "line " + n + "\\n");
        response.end("late ".repeat(100_000));
      }, 5);`),
    crashes: nodeServer('process.kill(process.pid, "SIGKILL");'),
  },
};

const forked = wsgi("smart");

/** All of them. */
export const languages: readonly Language[] = [
  bun,
  node,
  forked,
  wsgi("conservative"),
  asgi("smart"),
  asgi("conservative"),
  rack("smart"),
  rack("conservative"),
];

/** One that is started by itself, and one that is forked: for what no language has a say in. */
export const bothWays: readonly Language[] = [bun, forked];
