/**
 * The scalar that follows `register` (PROTOCOL section 12): how the instances of an application are
 * made, in both directions. `get` holds the words of a get after its root, `options` is what
 * `configure` takes, `log` says where their output goes. The one who says it is the supervisor,
 * which has checked what it says.
 */
import { parseAppRequest, type AppRequest } from "./app-request.ts";
import { fromText, type ByteString } from "./bytes.ts";
import { type InstanceOptions, instanceOptions, parseObject } from "./configure.ts";
import { object, OptionsError } from "./option-readers.ts";
import { type OutputPlace, parseOutputPlace } from "./output-place.ts";
import { encodeScalar } from "./scalar-message.ts";

/**
 * The most bytes of the JSON: the variables of an application (cli/app-settings.ts, 256 KiB), each
 * byte of which may take six characters, and room for the rest.
 */
export const MAX_REGISTER_BYTES = 2 * 1024 * 1024;

/** An application as it is registered, its root aside; texts are UTF-8 on the wire. */
export interface Registration {
  readonly lowerPrivilege: boolean;
  readonly lowestUser: string;
  readonly environment: string;
  readonly spawnMethod: AppRequest["spawnMethod"];
  readonly appType: AppRequest["appType"];
  readonly options: InstanceOptions;
  /** Absent: with the output of all others. */
  readonly log?: OutputPlace | undefined;
}

/** The JSON of the scalar; equal registrations are equal texts. */
export function registrationJson(registration: Registration): string {
  const { lowerPrivilege, lowestUser, environment, spawnMethod, appType, log } = registration;
  const get = [String(lowerPrivilege), lowestUser, environment, spawnMethod, appType];
  return JSON.stringify({ get, options: registration.options, log });
}

export function encodeRegistration(json: string): Uint8Array {
  return encodeScalar(Buffer.from(json));
}

/** What the scalar says of the application `root`. @throws OptionsError, ProtocolError. */
export function parseRegistration(
  root: ByteString,
  json: Uint8Array,
): {
  readonly app: AppRequest;
  readonly options: InstanceOptions;
  readonly log: OutputPlace | undefined;
} {
  const given = parseObject(json) as Record<"get" | "options" | "log", unknown>;
  const words: unknown = given.get;
  if (!Array.isArray(words) || !words.every((word) => typeof word === "string")) {
    throw new OptionsError("register: get must be a list of strings");
  }
  return {
    app: parseAppRequest([root, ...words.map((word) => fromText(word))], 0),
    options: instanceOptions(object("options", given.options)),
    log: parseOutputPlace(given.log),
  };
}
