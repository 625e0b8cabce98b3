/**
 * Which instance the clients of sticky gets go on with (PROTOCOL section 11): what a client calls
 * it, its token, is the key of an instance, or anything else that stays the same for a visitor.
 * Keys are random: whoever has one can neither name another instance nor another application's,
 * and learns nothing of processes. What a token led to that is no key of an instance here is
 * remembered as long as that instance is there, within a bound for each application.
 */
import type { GetRequest, InstanceId } from "../pool/types.ts";
import { ascii, type ByteString } from "../wire/bytes.ts";
import type { ClientGet } from "./client-get.ts";

/** Visitors of one application that are remembered: those seen last. */
const maxVisitors = 10_000;
const keyBytes = 16;

interface Followed {
  readonly keys: Map<ByteString, InstanceId>;
  /** By token; who was seen last is last. */
  readonly visitors: Map<ByteString, InstanceId>;
}

export class Stickiness {
  readonly #applications = new Map<ByteString, Followed>();
  /** Of instances that anybody goes on with. */
  readonly #keys = new Map<InstanceId, { readonly root: ByteString; readonly key: ByteString }>();

  /** The instance that a get's token leads to, which may be leaving; undefined: it has no token. */
  preferenceOf({ app, token }: ClientGet): GetRequest["preference"] {
    if (token === undefined) return undefined;
    const followed = this.#applications.get(app.root);
    const visited = followed?.visitors.get(token);
    const isKnown = visited !== undefined && this.#keys.has(visited);
    return { instance: isKnown ? visited : followed?.keys.get(token) };
  }

  /** A get has a session of that instance; if it has a token, the client goes on with it. */
  granted(get: ClientGet, instance: InstanceId): void {
    const { app, token } = get;
    if (token === undefined) return;
    const key = this.#keys.get(instance)?.key ?? this.#newKey(app.root, instance);
    get.key = key;
    const visitors = this.#applications.get(app.root)?.visitors;
    if (visitors === undefined || token === "" || token === key) return;
    visitors.delete(token);
    const [longestAgo] = visitors.size < maxVisitors ? [] : visitors.keys();
    if (longestAgo !== undefined) visitors.delete(longestAgo);
    visitors.set(token, instance);
  }

  /** The instance is gone. */
  forget(instance: InstanceId): void {
    const known = this.#keys.get(instance);
    if (known === undefined) return;
    this.#keys.delete(instance);
    const { root, key } = known;
    const followed = this.#applications.get(root);
    followed?.keys.delete(key);
    if (followed?.keys.size === 0) this.#applications.delete(root);
  }

  #newKey(root: ByteString, instance: InstanceId): ByteString {
    const random = crypto.getRandomValues(Buffer.alloc(keyBytes));
    const key = ascii(random.toString("base64url"));
    const followed = this.#applications.get(root) ?? { keys: new Map(), visitors: new Map() };
    this.#applications.set(root, followed);
    followed.keys.set(key, instance);
    this.#keys.set(instance, { root, key });
    return key;
  }
}
