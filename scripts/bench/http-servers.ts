/**
 * The servers that `bench http` compares: what each needs, and how it is started for one of the
 * applications in apps/. All answer on one port of 127.0.0.1 and run in the foreground; their own
 * files lie in a directory of the measurement's.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Command } from "./started-server.ts";

export const APP_TYPES = ["rack", "wsgi", "node", "bun"] as const;
export type AppType = (typeof APP_TYPES)[number];
/** What the applications in apps/ answer to GET /. */
export const GREETING: Readonly<Record<AppType, string>> = {
  rack: "Hello from Rack\n",
  wsgi: "Hello from WSGI\n",
  node: "Hello from Node\n",
  bun: "Hello from Bun\n",
};
/** What `bench http` compares; the other measurements have enough with one kind of Python. */
export const HTTP_TYPES = [...APP_TYPES, "asgi"] as const;
export type HttpType = (typeof HTTP_TYPES)[number];

/** Where one server is started. */
export interface Place {
  readonly type: HttpType;
  /** A copy of the application. */
  readonly root: string;
  /** For the server's own files; empty. */
  readonly directory: string;
  readonly port: number;
  /** A second free port, for what is behind a proxy. */
  readonly innerPort: number;
  /** Whether it writes an access log, into a file, if it can. */
  readonly logs: boolean;
}

export interface HttpServer {
  readonly name: string;
  readonly types: readonly HttpType[];
  /** A file or a command on PATH → the Debian package that brings it. */
  readonly needs: Readonly<Record<string, string>>;
  /** Whether it starts the application with the first request only. */
  readonly lazy: boolean;
  commands(place: Place): Command[];
}

const MAX_INSTANCES = 6;
const PASSENGER = "/usr/lib/passenger/support-binaries/PassengerAgent";
const PASSENGER_ROOT = "/usr/lib/ruby/vendor_ruby/phusion_passenger/locations.ini";
const UWSGI_PYTHON = "/usr/lib/uwsgi/plugins/python3_plugin.so";
/** Whom the servers run as: whoever measures. (Bun asks only $USER for it.) */
export const USER = Bun.spawnSync(["id", "-un"]).stdout.toString().trim();

/** What the interpreters of the applications are called, Debian's own before others. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: `/usr/bin:/bin:/usr/sbin:/sbin:${process.env["PATH"] ?? ""}`,
  HOME: process.env["HOME"] ?? "/",
  LANG: "C.UTF-8",
};

function command(cwd: string, argv: readonly string[], env: Record<string, string> = {}): Command {
  return { cwd, argv, env: { ...ENVIRONMENT, ...env } };
}

/** The gateway of this project with one worker, and processes of one thread, or as many as said. */
export function gateway(
  executable: string,
  size: readonly string[] = ["--max", `${MAX_INSTANCES}`],
): HttpServer {
  return {
    name: "serve",
    types: HTTP_TYPES,
    needs: {},
    lazy: true,
    commands: ({ type, root, port, directory, logs }) => {
      const listen = ["--listen", `127.0.0.1:${port}`, "--workers", "1"];
      const log = logs ? ["--access-log-file", `${directory}/access.log`] : ["--access-log", "off"];
      const pool = ["--type", type, "--environment", "production", ...size];
      return [command(root, [executable, "serve", root, ...listen, ...log, ...pool])];
    },
  };
}

/** How Passenger is told what kind of application it is. */
function passengerType({ type, root }: Place): string[] {
  switch (type) {
    case "rack":
      return ["--app-type", "ruby", "--startup-file", `${root}/config.ru`];
    case "wsgi": {
      const file = `${root}/passenger_wsgi.py`;
      return ["--app-type", "python", "--python", "/usr/bin/python3", "--startup-file", file];
    }
    case "node":
      return ["--app-type", "node", "--startup-file", `${root}/app.js`];
    case "asgi": // It is not among its types.
      return [];
    case "bun":
      return ["--app-start-command", `${process.execPath} server.ts`];
  }
}

/** What `passenger start --engine builtin` runs, in the foreground. */
const passenger: HttpServer = {
  name: "Passenger 6",
  types: APP_TYPES,
  needs: { [PASSENGER]: "passenger" },
  lazy: true,
  commands: (place) => {
    const { root, directory, port } = place;
    const places = ["--instance-registry-dir", directory, "--spawn-dir", directory];
    const users = ["--no-user-switching", "--default-user", USER];
    const quiet = ["--disable-security-update-check", "--disable-anonymous-telemetry"];
    const core = ["--listen", `tcp://127.0.0.1:${port}`, "--data-buffer-dir", directory];
    const pool = ["-e", "production", "--max-pool-size", `${MAX_INSTANCES}`];
    const watchdog = [PASSENGER, "watchdog", "--passenger-root", PASSENGER_ROOT];
    const inner = [...core, ...pool, ...quiet, ...passengerType(place), root];
    return [command(root, [...watchdog, ...places, ...users, "--BC", ...inner, "--EC"])];
  },
};

const puma: HttpServer = {
  name: "Puma",
  types: ["rack"],
  needs: { puma: "puma" },
  lazy: false,
  commands: ({ root, port, logs }) => {
    const size = ["-w", "2", "-t", "5:5", "-e", "production"];
    const bind = ["-b", `tcp://127.0.0.1:${port}`];
    const log = logs ? "--log-requests" : "-q";
    return [command(root, ["puma", log, "-C", "-", ...size, ...bind, "config.ru"])];
  },
};

const gunicorn: HttpServer = {
  name: "gunicorn",
  types: ["wsgi"],
  needs: { gunicorn: "gunicorn" },
  lazy: false,
  commands: ({ root, port, directory, logs }) => {
    const log = logs ? ["--access-logfile", `${directory}/access.log`] : [];
    const size = ["-w", "2", "--threads", "5", "-b", `127.0.0.1:${port}`];
    return [command(root, ["gunicorn", ...size, ...log, "passenger_wsgi:application"])];
  },
};

const uvicorn: HttpServer = {
  name: "uvicorn",
  types: ["asgi"],
  needs: { uvicorn: "uvicorn" },
  lazy: false,
  commands: ({ root, port, logs }) => {
    const log = logs ? [] : ["--no-access-log", "--log-level", "warning"];
    return [command(root, ["uvicorn", "--port", `${port}`, ...log, "asgi:application"])];
  },
};

/** wrk counts most of its answers as failed reads, and asks the next on a new connection. */
const hypercorn: HttpServer = {
  name: "hypercorn",
  types: ["asgi"],
  needs: { hypercorn: "python3-hypercorn" },
  lazy: false,
  commands: ({ root, port, directory, logs }) => {
    const log = logs ? ["--access-logfile", `${directory}/access.log`] : [];
    const listen = ["--bind", `127.0.0.1:${port}`, "--worker-class", "uvloop"];
    return [command(root, ["hypercorn", ...listen, ...log, "asgi:application"])];
  },
};

/** A proxy with as many workers as processors, whose temporary files are in its own directory. */
function nginx({ directory, logs }: Place, servers: string): Command {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${directory}/${kind};`,
  );
  const main = ["daemon off;", "worker_processes auto;", `pid ${directory}/nginx.pid;`];
  if (process.getuid?.() === 0) main.push(`user ${USER};`);
  const log = `access_log ${logs ? `${directory}/access.log` : "off"};`;
  const http = [log, "client_max_body_size 0;", "keepalive_requests 1000000;"];
  const file = join(directory, "nginx.conf");
  const blocks = `events {} http { ${[...http, ...temporary].join(" ")} ${servers} }`;
  writeFileSync(file, `${main.join(" ")} ${blocks}\n`);
  return command(directory, ["nginx", "-e", "stderr", "-p", directory, "-c", file]);
}

const uwsgi: HttpServer = {
  name: "nginx + uWSGI",
  types: ["wsgi"],
  needs: { nginx: "nginx", [UWSGI_PYTHON]: "uwsgi-plugin-python3" },
  lazy: false,
  commands: (place) => {
    const socket = `${place.directory}/uwsgi.sock`;
    const size = ["--master", "--processes", "2", "--threads", "5", "--die-on-term"];
    const app = ["--plugin", "python3", "--wsgi-file", "passenger_wsgi.py", "--need-app"];
    const argv = ["uwsgi", ...app, ...size, "--disable-logging", "--uwsgi-socket", socket];
    const params = [
      "QUERY_STRING $query_string",
      "REQUEST_METHOD $request_method",
      "CONTENT_TYPE $content_type",
      "CONTENT_LENGTH $content_length",
      "REQUEST_URI $request_uri",
      "PATH_INFO $document_uri",
      "SERVER_PROTOCOL $server_protocol",
      "REMOTE_ADDR $remote_addr",
      "SERVER_PORT $server_port",
      "SERVER_NAME $server_name",
    ].map((param) => `uwsgi_param ${param};`);
    const location = `location / { ${params.join(" ")} uwsgi_pass unix:${socket}; }`;
    const front = nginx(place, `server { listen 127.0.0.1:${place.port}; ${location} }`);
    return [command(place.root, argv), front];
  },
};

const node: HttpServer = {
  name: "Node alone",
  types: ["node"],
  needs: { node: "nodejs" },
  lazy: false,
  commands: ({ root, port }) => [command(root, ["node", "app.js"], { PORT: `${port}` })],
};

function bunProgram(root: string, port: number): Command {
  return command(root, [process.execPath, "server.ts"], { PORT: `${port}` });
}

const nginxBun: HttpServer = {
  name: "nginx + Bun",
  types: ["bun"],
  needs: { nginx: "nginx" },
  lazy: false,
  commands: (place) => {
    const upstream = `upstream bun { server 127.0.0.1:${place.innerPort}; keepalive 64; }`;
    const headers = 'proxy_http_version 1.1; proxy_set_header Connection "";';
    const location = `location / { proxy_pass http://bun; ${headers} }`;
    const front = nginx(
      place,
      `${upstream} server { listen 127.0.0.1:${place.port}; ${location} }`,
    );
    return [bunProgram(place.root, place.innerPort), front];
  },
};

const bun: HttpServer = {
  name: "Bun alone",
  types: ["bun"],
  needs: {},
  lazy: false,
  commands: ({ root, port }) => [bunProgram(root, port)],
};

export const PEERS: readonly HttpServer[] = [
  passenger,
  puma,
  gunicorn,
  uwsgi,
  uvicorn,
  hypercorn,
  node,
  nginxBun,
  bun,
];

/** The gateway and its peers with as many processes and threads as each other, of one type. */
export function threaded(executable: string): HttpServer[] {
  return [gateway(executable, ["--max", "2", "--threads", "5"]), puma, gunicorn, uwsgi];
}

function isThere(what: string): boolean {
  if (what.startsWith("/")) return existsSync(what);
  return Bun.which(what, { PATH: ENVIRONMENT["PATH"] ?? "" }) !== null;
}

/** What of this server's needs is not there, as Debian packages. */
export function missingPackages({ needs }: Pick<HttpServer, "needs">): string[] {
  return Object.entries(needs).flatMap(([what, name]) => (isThere(what) ? [] : [name]));
}
