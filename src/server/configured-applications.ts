/** What `configure` and `register` said of each application; bounded: anybody can invent names. */
import type { ApplicationSettings } from "../pool/types.ts";
import type { Spawner, SpawnRequest } from "../spawn/spawner.ts";
import type { AppRequest } from "../wire/app-request.ts";
import type { ByteString } from "../wire/bytes.ts";
import type { InstanceOptions } from "../wire/configure.ts";
import { wantsGroup } from "../wire/kernel-limits.ts";
import { OptionsError } from "../wire/option-readers.ts";

/** What may be configured at once: more than anybody has seen, and little enough to keep. */
const maxApplications = 10_000;
const maxBytes = 16 * 1024 * 1024;

interface ConfiguredApplication {
  readonly options: InstanceOptions;
  /** What takes the place of the words of every get, if it is registered. */
  readonly request: AppRequest | undefined;
}

/**
 * What of an application's options is the pool's business. @param isBuiltin whether we make its
 * instances: the processes of a spawn server are not ours to end.
 */
export function poolSettings(options: InstanceOptions, isBuiltin: boolean): ApplicationSettings {
  const { maxInstances, minInstances, maxQueue, weight, maxRequests, maxAgeMs } = options;
  const { abandonTimeoutMs: abandonMs, requestTimeoutMs: requestMs } = options;
  const { upgradedTimeMs: upgradedMs, maxIdleMs, restartMode } = options;
  const times = { abandonMs, requestMs, upgradedMs };
  const limits = { maxInstances, minInstances, maxQueue, weight, maxRequests, maxAgeMs };
  return {
    ...limits,
    maxIdleMs: maxIdleMs === 0 ? Infinity : maxIdleMs,
    isRolling: restartMode === undefined ? undefined : restartMode === "rolling",
    ...(isBuiltin ? times : {}),
  };
}

/** Options that hold for instances that are there already. */
const notOfMaking: ReadonlySet<string> = new Set<keyof InstanceOptions>([
  ...(["maxInstances", "minInstances", "instances", "maxQueue", "weight"] as const),
  ...(["spawnTimeoutMs", "abandonTimeoutMs", "requestTimeoutMs", "upgradedTimeMs"] as const),
  "restartMode",
  ...(["readyPath", "readyHost", "readyTimeoutMs"] as const),
  ...(["memoryMax", "cpuWeight", "tasksMax"] as const),
  ...(["maxIdleMs", "maxRequests", "maxAgeMs", "maxMemory", "hardMemory"] as const),
]);

/** How instances are made, as a text that differs where they are made otherwise. */
export function makingOf(application: ConfiguredApplication | undefined): string {
  if (application === undefined) return "";
  const { options, request } = application;
  const making = Object.entries(options).filter(([key]) => !notOfMaking.has(key));
  // A group's limits change while it is there; who is in none has to start anew to be in one.
  return JSON.stringify([request, making, wantsGroup(options)]);
}

export class ConfiguredApplications {
  readonly #applications = new Map<
    ByteString,
    ConfiguredApplication & { readonly bytes: number }
  >();
  #bytes = 0;

  /** All that an instance of the application a get names is made from. */
  spawnRequest(app: AppRequest, timeoutMs: number): SpawnRequest {
    const { options, request = app } = this.#applications.get(app.root) ?? {};
    return { ...request, ...options, timeoutMs: options?.spawnTimeoutMs ?? timeoutMs };
  }

  /**
   * What the pool may expect of an application's instances: as was said, or as is usual for its
   * kind. How many share its gets is usual only where it is registered: others have what they ask.
   */
  expected(
    app: AppRequest,
    spawner: Pick<Spawner, "usualInstances">,
  ): { readonly expectedConcurrency: number; readonly instances: number } {
    const { options, request } = this.#applications.get(app.root) ?? {};
    const { instances = request === undefined ? 0 : undefined } = options ?? {};
    const usual = spawner.usualInstances(app, options);
    return { expectedConcurrency: usual.concurrency, instances: instances ?? usual.instances };
  }

  of(root: ByteString): ConfiguredApplication | undefined {
    return this.#applications.get(root);
  }

  /**
   * No options, of an application that is not registered, clear what was said before.
   * @throws OptionsError when there are too many.
   */
  set(root: ByteString, options: InstanceOptions, request?: AppRequest): void {
    if (request === undefined && Object.keys(options).length === 0) return this.delete(root);
    const known = this.#applications.get(root);
    const bytes = root.length + JSON.stringify([options, request]).length;
    const total = this.#bytes - (known?.bytes ?? 0) + bytes;
    if (known === undefined && this.#applications.size >= maxApplications) {
      throw new OptionsError(`configure: ${maxApplications} applications are configured already`);
    }
    if (total > maxBytes) {
      throw new OptionsError(`configure: options exceed ${maxBytes} bytes in all`);
    }
    this.#applications.set(root, { options, request, bytes });
    this.#bytes = total;
  }

  delete(root: ByteString): void {
    this.#bytes -= this.#applications.get(root)?.bytes ?? 0;
    this.#applications.delete(root);
  }
}
