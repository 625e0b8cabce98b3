/**
 * The scalar that follows `configure`: a JSON object of options for an application's instances, in
 * both directions. Unknown keys and wrong types are errors: a misspelt option must not be taken for
 * a set one. They are answered with `error` and the message; unlike a ProtocolError they do not end
 * the client.
 */

import { causeText } from "./cause.ts";
import { MAX_CONCURRENCY } from "./instance-protocol.ts";
import {
  listenWays,
  MAX_UMASK,
  whyNotArgs,
  whyNotProgramText,
  type ListenWay,
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
/** What an instance may serve before it is replaced: nobody means more by a limit. */
export const MAX_REQUESTS = 1_000_000_000;
/** Ten years: how long an instance may be told to stay. */
export const MAX_LIFE_MS = 315_360_000_000;
/** Of an application's share: more would leave nothing to the others. */
export const MAX_WEIGHT = 100;

/**
 * Options for the instances of one application that are spawned from now on; absent: the default.
 */
export interface InstanceOptions extends ProgramOptions {
  /** Environment variables on top of the usual ones. */
  readonly env?: Readonly<Record<string, string>>;
  /** Sessions an instance serves at once, 1 to 100,000. */
  readonly concurrency?: number;
  /** 0: no limit but the pool's. */
  readonly maxInstances?: number;
  /** So many share the application's requests; 0: as many as are needed. */
  readonly instances?: number;
  readonly spawnTimeoutMs?: number;
  /** Whom they run as where privileges are lowered, whoever owns the files. */
  readonly user?: string;
  /** How long one may go on with a request whose client has left; 0: no limit. */
  readonly abandonTimeoutMs?: number;
  /** How long a session that is not kept may be open; 0: no limit. */
  readonly requestTimeoutMs?: number;
  /** Gets of it that may wait; 0: any number. */
  readonly maxQueue?: number;
  /** Its share of the pool where places are short, beside those of others. */
  readonly weight?: number;
  /** So many are started without anybody asking, where there are places. */
  readonly minInstances?: number;
  /** How long one may be idle; 0: for ever. */
  readonly maxIdleMs?: number;
  /** Requests after which one is replaced, give or take a tenth; 0: any number. */
  readonly maxRequests?: number;
  /** Bytes of memory (RSS) above which one is replaced; 0: any number. */
  readonly maxMemory?: number;
  /** The same above which it is ended. */
  readonly hardMemory?: number;
  /** How old one may be before it is replaced; 0: any age. */
  readonly maxAgeMs?: number;
  /** What a restart does; absent: `atOnce`. */
  readonly restartMode?: RestartMode;
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

/** Checks what claims to be options. @throws OptionsError. */
export function instanceOptions(given: object): InstanceOptions {
  const options: { -readonly [K in keyof InstanceOptions]: InstanceOptions[K] } = {};
  for (const [key, value] of Object.entries(given)) {
    switch (key) {
      case "env":
        options.env = parseEnv(value);
        break;
      case "concurrency":
        options.concurrency = integer(key, value, 1, MAX_CONCURRENCY);
        break;
      case "maxInstances":
      case "instances":
        options[key] = integer(key, value, 0, MAX_INSTANCES);
        break;
      case "spawnTimeoutMs":
        options.spawnTimeoutMs = integer(key, value, 1, MAX_SPAWN_TIMEOUT_MS);
        break;
      case "user":
        options.user = userName(value);
        break;
      case "abandonTimeoutMs":
      case "requestTimeoutMs":
        options[key] = integer(key, value, 0, MAX_REQUEST_TIMEOUT_MS);
        break;
      case "maxQueue":
        options.maxQueue = integer(key, value, 0, MAX_QUEUE);
        break;
      case "minInstances":
        options.minInstances = integer(key, value, 0, MAX_INSTANCES);
        break;
      case "maxRequests":
        options.maxRequests = integer(key, value, 0, MAX_REQUESTS);
        break;
      case "maxMemory":
      case "hardMemory":
        options[key] = integer(key, value, 0, Number.MAX_SAFE_INTEGER);
        break;
      case "maxIdleMs":
      case "maxAgeMs":
        options[key] = integer(key, value, 0, MAX_LIFE_MS);
        break;
      case "restartMode":
        options.restartMode = restartMode(value);
        break;
      case "weight":
        options.weight = integer(key, value, 1, MAX_WEIGHT);
        break;
      case "startupFile":
      case "app":
      case "cwd":
      case "interpreter":
      case "envFile":
      case "readyPath":
        options[key] = programText(key, value);
        break;
      case "args":
      case "command":
        options[key] = programArgs(key, value);
        break;
      case "listen":
        options.listen = listenWay(value);
        break;
      case "umask":
        options.umask = integer(key, value, 0, MAX_UMASK);
        break;
      default:
        throw new OptionsError(
          `configure: unknown option ${show(key)}; known are env, concurrency, maxInstances,` +
            " instances, spawnTimeoutMs, user, abandonTimeoutMs, requestTimeoutMs, maxQueue," +
            " weight, minInstances, maxIdleMs, maxRequests, maxMemory, hardMemory, maxAgeMs," +
            " restartMode, startupFile, app, args, cwd, interpreter, umask, envFile, command," +
            " listen, readyPath",
        );
    }
  }
  return options;
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

function listenWay(value: unknown): ListenWay {
  const way = listenWays.find((known) => known === value);
  if (way !== undefined) return way;
  const known = listenWays.join(", ");
  throw new OptionsError(`configure: listen is ${show(value)}, none of ${known}`);
}

function restartMode(value: unknown): RestartMode {
  if (value === "rolling" || value === "atOnce") return value;
  throw new OptionsError(`configure: restartMode is ${show(value)}, neither rolling nor atOnce`);
}

function userName(value: unknown): string {
  if (typeof value === "string" && value !== "" && !value.includes("\0")) return value;
  throw new OptionsError(`configure: user is ${show(value)}, not the name of a user`);
}

function programText(key: string, value: unknown): string {
  if (typeof value !== "string" || value === "") {
    throw new OptionsError(`configure: ${key} is ${show(value)}, not a text`);
  }
  const why = whyNotProgramText(value);
  if (why !== undefined) throw new OptionsError(`configure: ${key} ${why}`);
  return value;
}

function programArgs(key: string, value: unknown): readonly string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    throw new OptionsError(`configure: ${key} is ${show(value)}, not a list of texts`);
  }
  const why = whyNotArgs(value);
  if (why !== undefined) throw new OptionsError(`configure: ${key} ${why}`);
  return value;
}

/** The value, if it is an object. @throws OptionsError, which calls it `what`. */
export function object(what: string, value: unknown): object {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new OptionsError(`configure: ${what} must be an object, not ${show(value)}`);
}

function integer(key: string, value: unknown, min: number, max: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) {
    return value;
  }
  throw new OptionsError(
    `configure: ${key} is ${show(value)}, not a whole number from ${min} to ${max}`,
  );
}

/** A value as short JSON: its sender should recognise it. */
function show(value: unknown): string {
  const json = JSON.stringify(value);
  return json.length > 60 ? `${json.slice(0, 60)}...` : json;
}
