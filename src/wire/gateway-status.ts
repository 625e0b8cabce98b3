/** What a gateway tells of itself: the answer to `status` on its control socket, as JSON. */
import type { Inspection } from "./inspection.ts";
import type { ApplicationFigures } from "./request-figures.ts";

export interface GatewayStatus {
  /** What its configuration calls it; empty: nothing. */
  readonly name: string;
  readonly pid: number;
  /** Of the program that runs. */
  readonly version: string;
  /** How many programs the process was before: a reload goes on as a new one. */
  readonly generation: number;
  /** Why the program that was to come after this one has left it the process again. */
  readonly failedSuccessor: string | null;
  readonly listening: readonly string[];
  readonly workers: readonly number[];
  /** Null: there is none at the moment. */
  readonly poolServer: number | null;
  readonly applications: readonly ApplicationStatus[];
  /** Requests that no application was found for. */
  readonly unrouted: ApplicationFigures;
  readonly processes: readonly ProcessStatus[];
  /** How many have taken the place of one that died, hung, or was told to leave by itself. */
  readonly restarts: Restarts;
  /** Null: the pool server did not answer. */
  readonly pool: Inspection | null;
}

export interface ApplicationStatus {
  readonly name: string;
  readonly root: string;
  /** Whether its requests wait or are refused for now. */
  readonly pause: "wait" | "refuse" | null;
  readonly figures: ApplicationFigures;
  /** Memory of its processes, shared pages included; null: it has none. */
  readonly residentBytes: number | null;
}

/** Of processes of the gateway itself, by what they are, since its program began. */
export type Restarts = Readonly<Record<Exclude<ProcessStatus["kind"], "supervisor">, number>>;

/** A process of the gateway itself; null: it cannot be looked at. */
export interface ProcessStatus {
  readonly kind: "supervisor" | "worker" | "pool server" | "admin";
  readonly pid: number;
  readonly residentBytes: number | null;
  readonly openFds: number | null;
  /** How long it took to answer last, in ms; of the supervisor, how late its clock was. */
  readonly lagMs: number | null;
}
