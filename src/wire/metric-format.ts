/** The two formats in which figures are had, and which of them somebody asks for. */

export type MetricFormat = "openmetrics" | "prometheus";

export const metricTypes: Readonly<Record<MetricFormat, string>> = {
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
};

/** What an Accept header asks for: OpenMetrics only by its name, as Prometheus' libraries do. */
export function metricFormatFor(accept: string | null): MetricFormat {
  const open = weightOf("application/openmetrics-text", accept ?? "");
  return open > 0 && open >= weightOf("text/plain", accept ?? "") ? "openmetrics" : "prometheus";
}

/** The highest of a type's versions (RFC 9110, 12.5.1). */
function weightOf(type: string, accept: string): number {
  const items = accept.toLowerCase().split(",");
  const weights = items.map((item) => {
    const [name, ...parameters] = item.split(";").map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? 1;
    return name === type ? Number(weight) : 0;
  });
  return Math.max(...weights);
}
