/**
 * What of a gateway's status has changed since it was told last. With thousands of applications all
 * but a few are as they were a second ago, and the whole is a megabyte. Who has the whole of any
 * moment since, and takes in what is told from then on, has it as it is.
 */
import type { GatewayStatus } from "../../wire/gateway-status.ts";

/** A status with the applications alone that have changed; and which there are no more. */
export type StatusNews = GatewayStatus & {
  readonly gone: {
    /** By their names. */
    readonly applications: readonly string[];
    /** In the pool, by their roots. */
    readonly pool: readonly string[];
  };
};

/** Things of a kind by their keys, each as it was told last. */
class Told<T> {
  readonly #keyOf: (one: T) => string;
  #texts = new Map<string, string>();

  constructor(keyOf: (one: T) => string) {
    this.#keyOf = keyOf;
  }

  take(all: readonly T[]): { readonly changed: readonly T[]; readonly gone: readonly string[] } {
    const before = this.#texts;
    this.#texts = new Map(all.map((one) => [this.#keyOf(one), JSON.stringify(one)]));
    const keyOf = this.#keyOf;
    const changed = all.filter((one) => before.get(keyOf(one)) !== this.#texts.get(keyOf(one)));
    return { changed, gone: [...before.keys()].filter((key) => !this.#texts.has(key)) };
  }
}

type Pooled = NonNullable<GatewayStatus["pool"]>["applications"][number];

export class StatusChanges {
  readonly #applications = new Told<GatewayStatus["applications"][number]>(({ name }) => name);
  readonly #pool = new Told<Pooled>(({ root }) => root);

  take(status: GatewayStatus): StatusNews {
    const { changed: applications, gone } = this.#applications.take(status.applications);
    if (status.pool === null) {
      return { ...status, applications, gone: { applications: gone, pool: [] } };
    }
    const pooled = this.#pool.take(status.pool.applications);
    const pool = { ...status.pool, applications: pooled.changed };
    return { ...status, applications, pool, gone: { applications: gone, pool: pooled.gone } };
  }
}
