/** TLS: addresses of their own beside plain ones, and a renewed certificate with a reload. */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";

import { until } from "../helpers/condition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const config = `
listen = ["127.0.0.1:0"]
[tls]
listen = ["127.0.0.1:0"]
certificate_file = "cert.pem"
key_file = "key.pem"
[log]
level = 1
[[apps]]
root = "app"
`;

/** A certificate for localhost, and its key, as `cert.pem` and `key.pem`. */
function makeCertificate(directory: string): void {
  const command =
    "openssl req -x509 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem " +
    "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
  const { success, stderr } = Bun.spawnSync(command.split(" "), { cwd: directory });
  if (!success) throw new Error(stderr.toString());
}

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
  makeCertificate(directory);
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
  makeCertificate(directory);
  gateway.signal("SIGHUP");
  await until("it is reloaded", () => gateway.log.includes("configuration reloaded"));
  expect(await fingerprintAt(port)).not.toBe(first);
  await gateway.end();
});

test("a key that belongs to another certificate is refused before anything is served", async () => {
  const directory = temporaryDirectory();
  writeApplication(directory);
  makeCertificate(directory);
  const key = await Bun.file(join(directory, "key.pem")).text();
  makeCertificate(directory);
  writeFileSync(join(directory, "key.pem"), key);
  writeFileSync(join(directory, "pool.toml"), config);
  const gateway = startGateway(["--config", join(directory, "pool.toml")]);
  expect(await gateway.ended).toBe(2);
  await until("it says why", () => gateway.log.includes("does not belong to the certificate"));
});
