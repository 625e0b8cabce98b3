/** TLS: addresses of their own beside plain ones, and a renewed certificate with a reload. */
import { expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";

import { askWithTls, makeCertificate } from "../helpers/certificates.ts";
import { until, within } from "../helpers/condition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const config = `
listen = ["127.0.0.1:0"]
[tls]
listen = ["127.0.0.1:0"]
certificate_file = "localhost.pem"
key_file = "localhost.key"
[log]
level = 1
[[apps]]
root = "app"
`;

/** The fingerprint of the certificate that is shown there. */
function fingerprintAt(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("an address with TLS beside a plain one; a renewed certificate is shown after a reload", async () => {
  const directory = temporaryDirectory();
  writeApplication(directory);
  makeCertificate(directory, "localhost");
  writeFileSync(join(directory, "pool.toml"), config);
  const gateway = startGateway(["--config", join(directory, "pool.toml")]);
  await until(
    "both addresses are named",
    () => gateway.addresses.length === 2,
    () => gateway.log,
  );
  const [plain = "", secure = ""] = gateway.addresses;
  expect(secure).toStartWith("https://127.0.0.1:");
  expect(await (await fetch(`${plain}/a`)).text()).toStartWith("app /a ");
  const tls = { rejectUnauthorized: false };
  expect(await (await fetch(`${secure}/b`, { tls })).text()).toStartWith("app /b ");
  const port = Number(new URL(secure).port);
  const first = await fingerprintAt(port);
  makeCertificate(directory, "localhost");
  gateway.signal("SIGHUP");
  await until("it is reloaded", () => gateway.log.includes("configuration reloaded"));
  const second = await fingerprintAt(port);
  expect(second).not.toBe(first);
  // What becomes of the files then is nothing to workers that start later.
  rmSync(join(directory, "localhost.key"));
  Bun.spawnSync(["mkfifo", join(directory, "localhost.key")]);
  for (const { pid } of gateway.workers) process.kill(pid, "SIGKILL");
  expect(await within("what is shown by another", fingerprintAt(port), 8_000)).toBe(second);
  await gateway.end();
});

test("a key that belongs to another certificate is refused before anything is served", async () => {
  const directory = temporaryDirectory();
  writeApplication(directory);
  makeCertificate(directory, "localhost");
  const key = await Bun.file(join(directory, "localhost.key")).text();
  makeCertificate(directory, "localhost");
  writeFileSync(join(directory, "localhost.key"), key);
  writeFileSync(join(directory, "pool.toml"), config);
  const gateway = startGateway(["--config", join(directory, "pool.toml")]);
  expect(await gateway.ended).toBe(2);
  await until("it says why", () => gateway.log.includes("does not belong to the certificate"));
});

/** Two addresses, plain and with TLS, on ports that were free a moment ago. */
function freePorts(): [number, number] {
  const listeners = [0, 0].map(() =>
    Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } }),
  );
  const [plain = 0, secure = 0] = listeners.map(({ port }) => port);
  for (const listener of listeners) listener.stop(true);
  return [plain, secure];
}

test("certificates by host, the redirect to TLS, and HSTS", async () => {
  const directory = temporaryDirectory();
  writeApplication(directory);
  makeCertificate(directory, "first");
  makeCertificate(directory, "named", ["a.example", "*.a.example"]);
  makeCertificate(directory, "given", ["ignored.example"]);
  const [plain, secure] = freePorts();
  writeFileSync(
    join(directory, "pool.toml"),
    `listen = ["127.0.0.1:${plain}", "unix:${directory}/socket"]
[tls]
listen = ["127.0.0.1:${secure}"]
certificate_file = "first.pem"
key_file = "first.key"
redirect = true
hsts = "1d"
hsts_subdomains = true
[[tls.certificates]]
certificate_file = "named.pem"
key_file = "named.key"
[[tls.certificates]]
hosts = ["given.example", "b.a.example"]
certificate_file = "given.pem"
key_file = "given.key"
[[apps]]
root = "app"
`,
  );
  const gateway = startGateway(["--config", join(directory, "pool.toml")]);
  await until(
    "all addresses are named",
    () => gateway.addresses.length === 3,
    () => gateway.log,
  );
  for (const [host, name] of [
    ["a.example", "named"],
    ["x.a.example", "named"],
    ["b.a.example", "given"],
    ["given.example", "given"],
    ["ignored.example", "first"],
  ] as const) {
    const shown = await askWithTls(secure, host);
    expect({ host, ...shown }).toMatchObject({ host, name });
    expect(shown.answer.toLowerCase()).toContain(
      "\nstrict-transport-security: max-age=86400; includesubdomains\r\n",
    );
  }
  const url = `http://127.0.0.1:${plain}/a%20b?c=%27`;
  const sent = await fetch(url, { method: "POST", body: "x", redirect: "manual" });
  expect(sent.status).toBe(308);
  expect(sent.headers.get("location")).toBe(`https://127.0.0.1:${secure}/a%20b?c=%27`);
  expect(sent.headers.get("strict-transport-security")).toBeNull();
  const unix = await fetch("http://localhost/u", { unix: `${directory}/socket` });
  expect(await unix.text()).toStartWith("app /u ");
  await gateway.end();
});
