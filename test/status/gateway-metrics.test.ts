/** A gateway's exposition: read back by a reader of its own that knows the format's rules. */
import { expect, test } from "bun:test";

import { gatewayMetrics } from "../../src/status/gateway-metrics.ts";
import { readExposition } from "../helpers/exposition.ts";
import { applicationWith, figuresWith, inspected, instanceWith, poolWith } from "./snapshots.ts";

const shop = {
  name: 'sh"o\\p',
  root: "/a",
  pause: null,
  figures: figuresWith({ "2xx": 40, "5xx": 2 }),
  residentBytes: 5e7,
};
const processes = [
  { kind: "worker", pid: 7, residentBytes: 4e7, openFds: 12, lagMs: 2 },
  { kind: "worker", pid: 8, residentBytes: null, openFds: null, lagMs: null },
] as const;
const restarts = { worker: 3, "pool server": 0, admin: 1 };
const unrouted = figuresWith({ "4xx": 3 });
const pool = inspected(poolWith({ applications: [applicationWith("/a", [instanceWith(9)])] }));
const gateway = { version: "1.2.3", applications: [shop], unrouted, processes, restarts, pool };

test("requests, times and waits of each application go by its name, as those of the pool", () => {
  const { values, families } = readExposition(gatewayMetrics(gateway, "openmetrics"));
  const app = String.raw`app="sh\"o\\p"`;
  expect(values.get(`application_pool_requests_total{${app},status="5xx"}`)).toBe(2);
  expect(values.get('application_pool_requests_total{app="",status="4xx"}')).toBe(3);
  expect(values.get(`application_pool_request_seconds_bucket{${app},le="0.001"}`)).toBe(1);
  expect(values.get(`application_pool_request_seconds_bucket{${app},le="1.0"}`)).toBe(41);
  expect(values.get(`application_pool_request_seconds_bucket{${app},le="+Inf"}`)).toBe(41);
  expect(values.get(`application_pool_request_seconds_sum{${app}}`)).toBeCloseTo(0.063);
  expect(values.get(`application_pool_queue_seconds_count{${app}}`)).toBe(42);
  expect(values.get(`application_pool_processes{${app},state="idle"}`)).toBe(1);
  expect(values.get(`application_pool_app_resident_memory_bytes{${app}}`)).toBe(5e7);
  expect(values.get('application_pool_open_fds{process="worker",number="0"}')).toBe(12);
  expect(values.has('application_pool_open_fds{process="worker",number="1"}')).toBe(false);
  const replaced = 'application_pool_process_restarts_total{process="worker"}';
  expect(values.get(replaced)).toBe(3);
  expect(values.get('application_pool_build_info{version="1.2.3"}')).toBe(1);
  expect(families.get("application_pool_request_seconds")).toBe("histogram");
});

test("without a pool server there are the gateway's own figures", () => {
  const { values } = readExposition(gatewayMetrics({ ...gateway, pool: null }, "openmetrics"));
  expect(values.get("application_pool_pool_server_answers")).toBe(0);
  expect(values.has("application_pool_gets_total")).toBe(false);
  expect(values.has('application_pool_requests_total{app="",status="4xx"}')).toBe(true);
});
