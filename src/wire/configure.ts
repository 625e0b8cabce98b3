/**
 * The scalar that follows `configure`: a JSON object of options for an application's instances, in
 * both directions. Unknown keys and wrong types are errors: a misspelt option must not be taken for
 * a set one. They are answered with `error` and the message; unlike a ProtocolError they do not end
 * the client.
 */

import { causeText } from "./cause.ts";
import { MAX_CONCURRENCY } from "./instance-protocol.ts";
import {
  isSoftAndHard,
  type KernelLimits,
  limitNames,
  MAX_CPU_WEIGHT,
  MAX_TASKS,
  MIN_MEMORY_MAX,
  type ResourceLimits,
} from "./kernel-limits.ts";
import {
  listenWays,
  MAX_UMASK,
  whyNotArgs,
  whyNotProgramText,
  type ProgramOptions,
} from "./program.ts";
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

/**
 * Options for the instances of one application that are spawned from now on; absent: the default.
 */
export interface InstanceOptions
  extends ProgramOptions, ReadinessOptions, UpkeepOptions, KernelLimits {
  /** Environment variables on top of the usual ones. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Sessions an instance serves at once, 1 to 100,000. */
  readonly concurrency?: number | undefined;
  /** The same for programs that need a thread for each; there is one of the two at most. */
  readonly threads?: number | undefined;
  /** 0: no limit but the pool's. */
  readonly maxInstances?: number | undefined;
  /** So many share the application's requests; 0: as many as are needed. */
  readonly instances?: number | undefined;
  readonly spawnTimeoutMs?: number | undefined;
  /** Whom they run as where privileges are lowered, whoever owns the files. */
  readonly user?: string | undefined;
  /** How long one may go on with a request whose client has left; 0: no limit. */
  readonly abandonTimeoutMs?: number | undefined;
  /** How long a session that is not kept may be open; 0: no limit. */
  readonly requestTimeoutMs?: number | undefined;
  /** How long one that has left the pool keeps its upgraded sessions; absent: until they end. */
  readonly upgradedTimeMs?: number | undefined;
  /** Gets of it that may wait; 0: any number. */
  readonly maxQueue?: number | undefined;
  /** Its share of the pool where places are short, beside those of others. */
  readonly weight?: number | undefined;
}

/** What an instance is asked before it counts as ready, beyond that it says so or listens. */
export interface ReadinessOptions {
  /** This path is to be answered with success. */
  readonly readyPath?: string | undefined;
  /** The host that is asked for it; absent: localhost. */
  readonly readyHost?: string | undefined;
  /** How long that may take, within the limit of the spawn; absent: as long as that. */
  readonly readyTimeoutMs?: number | undefined;
}

/** When instances are started ahead of need, and replaced. */
export interface UpkeepOptions {
  /** So many are started without anybody asking, where there are places. */
  readonly minInstances?: number | undefined;
  /** How long one may be idle; 0: for ever. */
  readonly maxIdleMs?: number | undefined;
  /** Requests after which one is replaced, give or take a tenth; 0: any number. */
  readonly maxRequests?: number | undefined;
  /** Bytes of memory (RSS) above which one is replaced; 0: any number. */
  readonly maxMemory?: number | undefined;
  /** The same above which it is ended. */
  readonly hardMemory?: number | undefined;
  /** How old one may be before it is replaced; 0: any age. */
  readonly maxAgeMs?: number | undefined;
  /** What a restart does; absent: `atOnce`. */
  readonly restartMode?: RestartMode | undefined;
}

/**
 * `rolling`: a new instance is ready before an old one goes, and code that does not start leaves
 * the old ones serving. `atOnce`: what comes after a restart is served by the new code alone.
 */
export type RestartMode = "rolling" | "atOnce";

/** A `configure` that cannot be taken; the message is the answer. */
export class OptionsError extends Error {
  override readonly name = "OptionsError";
}

/** The scalar of `configure`. */
export function encodeConfigureOptions(options: InstanceOptions): Uint8Array {
  return encodeScalar(Buffer.from(JSON.stringify(options)));
}

/** The options that the bytes of the scalar are. @throws OptionsError. */
export function parseConfigureOptions(json: Uint8Array): InstanceOptions {
  return instanceOptions(parseObject(json));
}

type Reader<K extends keyof InstanceOptions> = (key: K, value: unknown) => InstanceOptions[K];

const isText = (value: unknown) => typeof value === "string" && value !== "";
const programText = taking<string>(isText, "not a text", whyNotProgramText);
const userName = taking<string>(isText, "not the name of a user", whyNotProgramText);
/** What stands in the head of a request: printable ASCII without blanks. */
const plainText = taking<string>(
  (value) => typeof value === "string" && /^[!-~]+$/.test(value),
  "not a text of plain ASCII",
  whyNotProgramText,
);
const programArgs = taking<readonly string[]>(
  (value) => Array.isArray(value) && value.every((item) => typeof item === "string"),
  "not a list of texts",
  whyNotArgs,
);

/** What each option takes. */
const readers: { readonly [K in keyof Required<InstanceOptions>]: Reader<K> } = {
  env: (_, value) => parseEnv(value),
  concurrency: whole(1, MAX_CONCURRENCY),
  threads: whole(1, MAX_THREADS),
  maxInstances: whole(0, MAX_INSTANCES),
  instances: whole(0, MAX_INSTANCES),
  minInstances: whole(0, MAX_INSTANCES),
  spawnTimeoutMs: whole(1, MAX_SPAWN_TIMEOUT_MS),
  user: userName,
  abandonTimeoutMs: whole(0, MAX_REQUEST_TIMEOUT_MS),
  requestTimeoutMs: whole(0, MAX_REQUEST_TIMEOUT_MS),
  upgradedTimeMs: whole(0, MAX_REQUEST_TIMEOUT_MS),
  maxQueue: whole(0, MAX_QUEUE),
  weight: whole(1, MAX_WEIGHT),
  maxIdleMs: whole(0, MAX_LIFE_MS),
  maxAgeMs: whole(0, MAX_LIFE_MS),
  maxRequests: whole(0, MAX_REQUESTS),
  maxMemory: whole(0, Number.MAX_SAFE_INTEGER),
  hardMemory: whole(0, Number.MAX_SAFE_INTEGER),
  restartMode: word<RestartMode>(["rolling", "atOnce"]),
  startupFile: programText,
  app: programText,
  args: programArgs,
  cwd: programText,
  interpreter: programText,
  umask: whole(0, MAX_UMASK),
  envFile: programText,
  command: programArgs,
  listen: word(listenWays),
  readyPath: plainText,
  readyHost: plainText,
  readyTimeoutMs: whole(1, MAX_SPAWN_TIMEOUT_MS),
  memoryMax: whole(MIN_MEMORY_MAX, Number.MAX_SAFE_INTEGER),
  cpuWeight: whole(1, MAX_CPU_WEIGHT),
  tasksMax: whole(1, MAX_TASKS),
  limits: (_, value) => resourceLimits(value),
};

/** Checks what claims to be options. @throws OptionsError. */
export function instanceOptions(given: object): InstanceOptions {
  const options = Object.entries(given).map(([key, value]) => {
    if (!Object.hasOwn(readers, key)) {
      const known = Object.keys(readers).join(", ");
      throw new OptionsError(`configure: unknown option ${show(key)}; known are ${known}`);
    }
    const read = readers[key as keyof InstanceOptions] as (key: string, value: unknown) => unknown;
    return [key, read(key, value)];
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

function parseEnv(value: unknown): Readonly<Record<string, string>> {
  const env: [string, string][] = [];
  for (const [name, setting] of Object.entries(object("env", value))) {
    // environ(7): `name=value`, ended by a NUL.
    if (name === "" || /[=\0]/.test(name) || !name.isWellFormed()) {
      throw new OptionsError(`configure: env: ${show(name)} cannot be a variable's name`);
    }
    if (typeof setting !== "string") {
      throw new OptionsError(`configure: env: ${show(name)} is ${show(setting)}, not a string`);
    }
    if (setting.includes("\0") || !setting.isWellFormed()) {
      throw new OptionsError(`configure: env: ${show(name)} holds a NUL or half a character`);
    }
    env.push([name, setting]);
  }
  // fromEntries defines properties: a variable called __proto__ stays one.
  return Object.fromEntries(env);
}

function resourceLimits(value: unknown): ResourceLimits {
  for (const [name, limit] of Object.entries(object("limits", value))) {
    const isKnown = (limitNames as readonly string[]).includes(name);
    if (isKnown && isSoftAndHard(limit)) continue;
    const why = isKnown ? "no [soft, hard]" : `none of ${limitNames.join(", ")}`;
    throw new OptionsError(`configure: limits: ${show(name)} is ${why}`);
  }
  return value as ResourceLimits;
}

/** Takes a value that is of a kind. @param whyNot what else is wrong with one of that kind. */
function taking<T>(
  isOne: (value: unknown) => boolean,
  notOne: string,
  whyNot: (value: T) => string | undefined = () => undefined,
) {
  return (key: string, value: unknown): T => {
    const why = isOne(value) ? whyNot(value as T) : `is ${show(value)}, ${notOne}`;
    if (why === undefined) return value as T;
    throw new OptionsError(`configure: ${key} ${why}`);
  };
}

function whole(min: number, max: number) {
  return taking<number>(
    (value) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max,
    `not a whole number from ${min} to ${max}`,
  );
}

function word<Word extends string>(words: readonly Word[]) {
  return taking<Word>((value) => words.includes(value as Word), `none of ${words.join(", ")}`);
}

/** The value, if it is an object. @throws OptionsError, which calls it `what`. */
export function object(what: string, value: unknown): object {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new OptionsError(`configure: ${what} must be an object, not ${show(value)}`);
}

/** A value as short JSON: its sender should recognise it. */
function show(value: unknown): string {
  const json = JSON.stringify(value);
  return json.length > 60 ? `${json.slice(0, 60)}...` : json;
}
