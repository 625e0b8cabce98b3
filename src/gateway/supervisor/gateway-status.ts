/** What a gateway tells of itself: the answer to `status`. */
import type { Inspection } from "../../parent/index.ts";
import type { ApplicationFigures } from "../../wire/request-figures.ts";

export interface GatewayStatus {
  /** What its configuration calls it; empty: nothing. */
  readonly name: string;
  readonly pid: number;
  readonly listening: readonly string[];
  readonly workers: readonly number[];
  /** Null: there is none at the moment. */
  readonly poolServer: number | null;
  readonly applications: readonly {
    readonly name: string;
    readonly root: string;
    /** Whether its requests wait or are refused for now. */
    readonly pause: "wait" | "refuse" | null;
    readonly figures: ApplicationFigures;
  }[];
  /** Requests that no application was found for. */
  readonly unrouted: ApplicationFigures;
  /** Null: the pool server did not answer. */
  readonly pool: Inspection | null;
}
