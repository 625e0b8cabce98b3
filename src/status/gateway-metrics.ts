/**
 * A gateway's metrics: the figures of its pool, those of its requests, and those of its own
 * processes. Applications go by their names; requests that found none have an empty one.
 */
import type { GatewayStatus, ProcessStatus } from "../wire/gateway-status.ts";
import type { MetricFormat } from "../wire/metric-format.ts";
import { bucketEndsMs } from "../wire/request-figures.ts";
import { byLabel, counter, formatMetrics, gauge, histogram, type Family } from "./metric-text.ts";
import { METRIC_PREFIX, poolMetrics } from "./pool-metrics.ts";

type Measured = Pick<
  GatewayStatus,
  "version" | "applications" | "unrouted" | "processes" | "restarts" | "pool"
>;

export function gatewayMetrics(gateway: Measured, format: MetricFormat): string {
  const { pool, version } = gateway;
  const names = new Map(gateway.applications.map(({ name, root }) => [root, name]));
  return formatMetrics(format, METRIC_PREFIX, [
    gauge("pool_server_answers", "1 if the pool server does.", Number(pool !== null)),
    ...(pool === null ? [] : poolMetrics(pool, names)),
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

const endsSeconds = bucketEndsMs.map((ms) => ms / 1_000);

function requestFamilies({ applications, unrouted }: Measured): Family[] {
  const all = [...applications, { name: "", figures: unrouted }];
  const perApp = (key: "underWay" | "bytesSent") =>
    all.map(({ name, figures }) => ({ labels: { app: name }, value: figures[key] }));
  const inSeconds = (key: "times" | "waits") =>
    all.map(({ name, figures }) => {
      const { counts, sumMs } = figures[key];
      return { labels: { app: name }, counts, sum: sumMs / 1_000 };
    });
  const statuses = all.flatMap(({ name, figures }) =>
    Object.entries(figures.statuses).map(([status, value]) => {
      return { labels: { app: name, status }, value };
    }),
  );
  const memory = applications.map(({ name, residentBytes }) => {
    return { labels: { app: name }, value: residentBytes ?? 0 };
  });
  const underWay = "Requests that have not been answered yet, by application.";
  const times = "From a request's head to the end of its answer, by application.";
  const waits = "How long requests waited for a process, by application.";
  const ofProcesses = "Memory of an application's processes, shared pages included.";
  return [
    counter("requests", "Requests whose answers are over, by application and status.", statuses),
    gauge("requests_under_way", underWay, perApp("underWay")),
    histogram("request_seconds", times, endsSeconds, inSeconds("times")),
    histogram("queue_seconds", waits, endsSeconds, inSeconds("waits")),
    counter("sent_bytes", "Bytes of answers' bodies, by application.", perApp("bytesSent")),
    gauge("app_resident_memory_bytes", ofProcesses, memory),
  ];
}

function processFamilies(processes: readonly ProcessStatus[]): Family[] {
  const numbers = new Map<string, number>();
  const labelled = processes.map((one) => {
    const number = numbers.get(one.kind) ?? 0;
    numbers.set(one.kind, number + 1);
    return { one, labels: { process: one.kind, number: String(number) } };
  });
  const samples = (key: "residentBytes" | "openFds" | "lagMs", unit = 1) =>
    labelled.flatMap(({ one: { [key]: value }, labels }) =>
      value === null ? [] : [{ labels, value: value / unit }],
    );
  const fds = "Descriptors that the server's own processes have open.";
  const lag = "How long each took to answer last; of the supervisor, how late its clock was.";
  return [
    gauge(
      "resident_memory_bytes",
      "Memory of the server's own processes.",
      samples("residentBytes"),
    ),
    gauge("open_fds", fds, samples("openFds")),
    gauge("event_loop_lag_seconds", lag, samples("lagMs", 1_000)),
  ];
}
