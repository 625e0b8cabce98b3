/**
 * Many small applications in a pool that cannot hold them all: requests go to one after the other,
 * so that nearly every request needs an instance that is not there. Ours beside Passenger 6 in
 * Apache (its one form in Debian that serves several applications), with the same limits.
 */
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ENVIRONMENT, USER } from "./http-servers.ts";
import type { Command } from "./started-server.ts";

export const MANY_APPS = 50;
export const MANY_PLACES = 10;
const MODULES = "/usr/lib/apache2/modules";

export interface ManyServer {
  readonly name: string;
  readonly needs: Readonly<Record<string, string>>;
  /** @param roots of the applications; they answer to the hosts app0.test, app1.test … */
  commands(roots: readonly string[], directory: string, port: number): Command[];
}

/** Copies of the Rack application. @returns their roots. */
export function makeApps(source: string, directory: string): string[] {
  return Array.from({ length: MANY_APPS }, (_, number) => {
    const root = join(directory, `app${number}`);
    cpSync(source, root, { recursive: true });
    mkdirSync(join(root, "public"));
    return root;
  });
}

function apacheConfig(
  roots: readonly string[],
  directory: string,
  port: number,
  method: string,
): string {
  const modules = ["mpm_event", "authz_core", "mime", "dir", "passenger"].map(
    (name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`,
  );
  const hosts = roots.map(
    (root, number) => `<VirtualHost *>
ServerName app${number}.test
DocumentRoot ${root}/public
<Directory ${root}/public>
Require all granted
</Directory>
</VirtualHost>`,
  );
  return `ServerRoot ${directory}
ServerName localhost
PidFile ${directory}/apache.pid
DefaultRuntimeDir ${directory}
ErrorLog ${directory}/error.log
Listen 127.0.0.1:${port}
${modules.join("\n")}
TypesConfig /etc/mime.types
PassengerRoot /usr/lib/ruby/vendor_ruby/phusion_passenger/locations.ini
PassengerMaxPoolSize ${MANY_PLACES}
PassengerMaxRequestQueueSize 0
PassengerSpawnMethod ${method}
PassengerLoadShellEnvvars off
PassengerUserSwitching off
PassengerDefaultUser ${USER}
PassengerInstanceRegistryDir ${directory}
PassengerDisableSecurityUpdateCheck on
PassengerDisableAnonymousTelemetry on
${hosts.join("\n")}
`;
}

function apache(method: "smart" | "direct"): ManyServer {
  return {
    name: `Passenger 6, ${method}`,
    needs: {
      apache2: "apache2-bin",
      [`${MODULES}/mod_passenger.so`]: "libapache2-mod-passenger",
    },
    commands: (roots, directory, port) => {
      const file = join(directory, "apache.conf");
      writeFileSync(file, apacheConfig(roots, directory, port, method));
      const argv = ["apache2", "-f", file, "-D", "FOREGROUND"];
      // Where Passenger leaves what it needs while it spawns.
      return [{ argv, cwd: directory, env: { ...ENVIRONMENT, TMPDIR: directory } }];
    },
  };
}

function gatewayConfig(roots: readonly string[], port: number, method: string): string {
  const apps = roots.map(
    (root, number) => `[[apps]]
root = "${root}"
name = "app${number}"
hosts = ["app${number}.test"]
type = "rack"
spawn_method = "${method}"
`,
  );
  const pool = `[pool]\nmax = ${MANY_PLACES}\n[log]\naccess = "off"\n`;
  return `listen = ["127.0.0.1:${port}"]\n${pool}${apps.join("")}`;
}

/** The gateway of this project, with one preloader for each application in the pool or none. */
export function manyGateways(executable: string): ManyServer[] {
  return ["smart", "conservative"].map((method) => ({
    name: `serve, ${method}`,
    needs: {},
    commands: (roots, directory, port) => {
      const file = join(directory, "pool.toml");
      writeFileSync(file, gatewayConfig(roots, port, method));
      const argv = [executable, "serve", "--config", file];
      return [{ argv, cwd: directory, env: ENVIRONMENT }];
    },
  }));
}

export const MANY_PEERS: readonly ManyServer[] = [apache("smart"), apache("direct")];
