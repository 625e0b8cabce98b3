/** A gateway's status as OpenMetrics, for `status` and the admin address. */
import type { GatewayStatus } from "../gateway/supervisor/gateway-status.ts";
import { gatewayMetrics } from "../status/gateway-metrics.ts";
import { snapshotFromJson } from "../status/json.ts";
import { version } from "./program-name.ts";

export function metricsOf(status: GatewayStatus): string {
  const pool = status.pool === null ? undefined : snapshotFromJson(status.pool);
  return gatewayMetrics(status, pool, version());
}
