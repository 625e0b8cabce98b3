/**
 * A gateway as OpenMetrics: the figures of its pool, those of its requests, and those of its own
 * processes. Applications go by their names; requests that found none have an empty one.
 */
import type { PoolSnapshot } from "../pool/types.ts";
import { fromText } from "../wire/bytes.ts";
import { bucketEndsMs, type ApplicationFigures, type Histogram } from "../wire/request-figures.ts";
import {
  byLabel,
  counter,
  formatOpenMetrics,
  gauge,
  histogramSamples,
  type Family,
  type Sample,
} from "./metric-text.ts";
import { METRIC_PREFIX, poolMetrics } from "./openmetrics.ts";

/** What of a gateway is shown. */
interface MeasuredGateway {
  readonly applications: readonly {
    readonly name: string;
    readonly root: string;
    readonly figures: ApplicationFigures;
    /** Of its instances; null: it has none. */
    readonly residentBytes: number | null;
  }[];
  readonly unrouted: ApplicationFigures;
  readonly processes: readonly MeasuredProcess[];
  /** How many of each kind have taken the place of another. */
  readonly restarts: Readonly<Record<string, number>>;
}

/** A process of the gateway's own; null: it cannot be looked at. */
interface MeasuredProcess {
  readonly kind: "supervisor" | "worker" | "pool server" | "admin";
  readonly pid: number;
  readonly residentBytes: number | null;
  readonly openFds: number | null;
  /** How late its event loop was, as far as is known: how long it took to answer last. */
  readonly lagMs: number | null;
}

/** @param pool undefined: the pool server does not answer. */
export function gatewayMetrics(
  gateway: MeasuredGateway,
  pool: PoolSnapshot | undefined,
  version: string,
): string {
  const names = new Map(gateway.applications.map(({ name, root }) => [fromText(root), name]));
  return formatOpenMetrics(METRIC_PREFIX, [
    gauge("pool_server_answers", "1 if the pool server does.", Number(pool !== undefined)),
    ...(pool === undefined ? [] : poolMetrics(pool, (root) => names.get(root))),
    ...requestFamilies(gateway),
    ...processFamilies(gateway.processes),
    counter(
      "process_restarts",
      "The server's own processes that have taken the place of one that ended.",
      byLabel("process", gateway.restarts),
    ),
    {
      name: "build",
      type: "info",
      help: "The server's version.",
      samples: [{ labels: { version }, value: 1 }],
    },
  ]);
}

function requestFamilies({ applications, unrouted }: MeasuredGateway): Family[] {
  const all = [...applications, { name: "", figures: unrouted, residentBytes: null }];
  const perApp = (valueOf: (figures: ApplicationFigures) => number): Sample[] =>
    all.map(({ name, figures }) => ({ labels: { app: name }, value: valueOf(figures) }));
  const inSeconds = (histogramOf: (figures: ApplicationFigures) => Histogram): Sample[] =>
    all.flatMap(({ name, figures }) => {
      const { counts, sumMs } = histogramOf(figures);
      return histogramSamples({ app: name }, endsSeconds, counts, sumMs / 1_000);
    });
  const statuses = all.flatMap(({ name, figures }) =>
    Object.entries(figures.statuses).map(([status, value]) => {
      return { labels: { app: name, status }, value };
    }),
  );
  return [
    counter("requests", "Requests whose answers are over, by application and status.", statuses),
    gauge(
      "requests_under_way",
      "Requests that have not been answered yet, by application.",
      perApp(({ underWay }) => underWay),
    ),
    {
      name: "request_seconds",
      type: "histogram",
      help: "From a request's head to the end of its answer, by application.",
      samples: inSeconds(({ times }) => times),
    },
    {
      name: "queue_seconds",
      type: "histogram",
      help: "How long requests waited for a process, by application.",
      samples: inSeconds(({ waits }) => waits),
    },
    counter(
      "sent_bytes",
      "Bytes of answers' bodies, by application.",
      perApp(({ bytesSent }) => bytesSent),
    ),
    gauge(
      "app_resident_memory_bytes",
      "Memory of an application's processes, shared pages included.",
      applications.map(({ name, residentBytes }) => {
        return { labels: { app: name }, value: residentBytes ?? 0 };
      }),
    ),
  ];
}

const endsSeconds = bucketEndsMs.map((ms) => ms / 1_000);

function processFamilies(processes: readonly MeasuredProcess[]): Family[] {
  const numbers = new Map<string, number>();
  const labelled = processes.map((one) => {
    const number = numbers.get(one.kind) ?? 0;
    numbers.set(one.kind, number + 1);
    return { one, labels: { process: one.kind, number: String(number) } };
  });
  const samples = (valueOf: (one: MeasuredProcess) => number | null): Sample[] =>
    labelled.flatMap(({ one, labels }) => {
      const value = valueOf(one);
      return value === null ? [] : [{ labels, value }];
    });
  return [
    gauge(
      "resident_memory_bytes",
      "Memory of the server's own processes.",
      samples(({ residentBytes }) => residentBytes),
    ),
    gauge(
      "open_fds",
      "Descriptors that the server's own processes have open.",
      samples(({ openFds }) => openFds),
    ),
    gauge(
      "event_loop_lag_seconds",
      "How long each took to answer last; of the supervisor, how late its clock was.",
      samples(({ lagMs }) => (lagMs === null ? null : lagMs / 1_000)),
    ),
  ];
}
