/**
 * The scalar that follows `configure`: a JSON object of options for an application's instances, in
 * both directions. Unknown keys and wrong types are errors: a misspelt option must not be taken for
 * a set one. They are answered with `error` and the message; unlike a ProtocolError they do not end
 * the client.
 */

import { causeText } from "./cause.ts";
import { MAX_CONCURRENCY } from "./instance-protocol.ts";
import { kernelReaders } from "./kernel-limits.ts";
import {
  object,
  OptionsError,
  type OptionsOf,
  show,
  taking,
  someText,
  whole,
  word,
} from "./option-readers.ts";
import { programReaders, whyNotProgramText } from "./program.ts";
import { encodeScalar } from "./scalar-message.ts";

/** The most bytes of the JSON: half of what a client may have waiting. */
export const MAX_CONFIGURE_BYTES = 128 * 1024;
export const MAX_INSTANCES = 100_000;
export const MAX_SPAWN_TIMEOUT_MS = 3_600_000;
/** A day: what takes longer is no request. */
export const MAX_REQUEST_TIMEOUT_MS = 86_400_000;
export const MAX_QUEUE = 1_000_000;
/** Each is one of the kernel's, with a stack: more than any application has a use for. */
export const MAX_THREADS = 1_000;
/** What an instance may serve before it is replaced: nobody means more by a limit. */
export const MAX_REQUESTS = 1_000_000_000;
/** Ten years: how long an instance may be told to stay. */
export const MAX_LIFE_MS = 315_360_000_000;
/** Of an application's share: more would leave nothing to the others. */
export const MAX_WEIGHT = 100;

export function encodeConfigureOptions(options: InstanceOptions): Uint8Array {
  return encodeScalar(Buffer.from(JSON.stringify(options)));
}

/** The options that the bytes of the scalar are. @throws OptionsError. */
export function parseConfigureOptions(json: Uint8Array): InstanceOptions {
  return instanceOptions(parseObject(json));
}

/** What stands in the head of a request: printable ASCII without blanks. */
const plainText = taking<string>(
  (value) => typeof value === "string" && /^[!-~]+$/.test(value),
  "not a text of plain ASCII",
  whyNotProgramText,
);

const readers = {
  /** Environment variables on top of the usual ones. */
  env: parseEnv,
  /** Sessions an instance serves at once, 1 to 100,000. */
  concurrency: whole(1, MAX_CONCURRENCY),
  /** The same for programs that need a thread for each; there is one of the two at most. */
  threads: whole(1, MAX_THREADS),
  /** 0: no limit but the pool's. */
  maxInstances: whole(0, MAX_INSTANCES),
  /** So many share the application's requests; 0: as many as are needed. */
  instances: whole(0, MAX_INSTANCES),
  /** So many are started without anybody asking, where there are places. */
  minInstances: whole(0, MAX_INSTANCES),
  spawnTimeoutMs: whole(1, MAX_SPAWN_TIMEOUT_MS),
  /** Whom they run as where privileges are lowered, whoever owns the files. */
  user: someText("not the name of a user", whyNotProgramText),
  /** How long one may go on with a request whose client has left; 0: no limit. */
  abandonTimeoutMs: whole(0, MAX_REQUEST_TIMEOUT_MS),
  /** How long a session that is not kept may be open; 0: no limit. */
  requestTimeoutMs: whole(0, MAX_REQUEST_TIMEOUT_MS),
  /** How long one that has left the pool keeps its upgraded sessions; absent: until they end. */
  upgradedTimeMs: whole(0, MAX_REQUEST_TIMEOUT_MS),
  /** Gets of it that may wait; 0: any number. */
  maxQueue: whole(0, MAX_QUEUE),
  /** Its share of the pool where places are short, beside those of others. */
  weight: whole(1, MAX_WEIGHT),
  /** How long one may be idle; 0: for ever. */
  maxIdleMs: whole(0, MAX_LIFE_MS),
  /** How old one may be before it is replaced; 0: any age. */
  maxAgeMs: whole(0, MAX_LIFE_MS),
  /** Requests after which one is replaced, give or take a tenth; 0: any number. */
  maxRequests: whole(0, MAX_REQUESTS),
  /** Bytes of memory (RSS) above which one is replaced; 0: any number. */
  maxMemory: whole(0, Number.MAX_SAFE_INTEGER),
  /** The same above which it is ended. */
  hardMemory: whole(0, Number.MAX_SAFE_INTEGER),
  /**
   * What a restart does. `rolling`: a new instance is ready before an old one goes, and code that
   * does not start leaves the old ones serving. `atOnce`, the default: what comes after a restart
   * is served by the new code alone.
   */
  restartMode: word(["rolling", "atOnce"]),
  ...programReaders,
  /** Before an instance counts as ready, this path is to be answered with success. */
  readyPath: plainText,
  /** The host that is asked for it; absent: localhost. */
  readyHost: plainText,
  /** How long that may take, within the limit of the spawn; absent: as long as that. */
  readyTimeoutMs: whole(1, MAX_SPAWN_TIMEOUT_MS),
  ...kernelReaders,
};

/** Options for an application's instances that are spawned from now on; absent: the default. */
export type InstanceOptions = OptionsOf<typeof readers>;
export type ReadinessOptions = Pick<InstanceOptions, "readyPath" | "readyHost" | "readyTimeoutMs">;

/** Checks what claims to be options. @throws OptionsError. */
export function instanceOptions(given: object): InstanceOptions {
  const options = Object.entries(given).map(([key, value]) => {
    if (!Object.hasOwn(readers, key)) {
      const known = Object.keys(readers).join(", ");
      throw new OptionsError(`configure: unknown option ${show(key)}; known are ${known}`);
    }
    return [key, readers[key as keyof InstanceOptions](key, value)];
  });
  const { concurrency, threads } = given as Record<string, unknown>;
  if (concurrency !== undefined && threads !== undefined) {
    throw new OptionsError("configure: concurrency and threads are both given: one says it");
  }
  return Object.fromEntries(options);
}

/** The object that JSON is. @throws OptionsError. */
export function parseObject(json: Uint8Array): object {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  } catch (cause) {
    throw new OptionsError("configure: the options are not UTF-8", { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new OptionsError(`configure: the options are not JSON: ${causeText(cause)}`, { cause });
  }
  return object("the options", value);
}

function parseEnv(key: string, value: unknown): Readonly<Record<string, string>> {
  const env: [string, string][] = [];
  for (const [name, setting] of Object.entries(object(key, value))) {
    // environ(7): `name=value`, ended by a NUL.
    if (name === "" || /[=\0]/.test(name) || !name.isWellFormed()) {
      throw new OptionsError(`configure: ${key}: ${show(name)} cannot be a variable's name`);
    }
    if (typeof setting !== "string") {
      throw new OptionsError(`configure: ${key}: ${show(name)} is ${show(setting)}, not a string`);
    }
    if (setting.includes("\0") || !setting.isWellFormed()) {
      throw new OptionsError(`configure: ${key}: ${show(name)} holds a NUL or half a character`);
    }
    env.push([name, setting]);
  }
  // fromEntries defines properties: a variable called __proto__ stays one.
  return Object.fromEntries(env);
}
