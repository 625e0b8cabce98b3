/**
 * What the pool cannot know: which of the sessions that workers keep have no request at the moment.
 * A process with none but these is idle, whatever else its application is at.
 */
import type { InspectedInstance, Inspection } from "../../wire/inspection.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** The pool as it is without sessions that have no request. */
export function withoutIdle(
  pool: Inspection,
  workers: readonly Pick<WorkerProcess, "idleSessions">[],
): Inspection {
  const shown = (instance: InspectedInstance) => {
    const idle = workers.reduce((sum, worker) => sum + worker.idleSessions(instance.pid), 0);
    return busyWith(instance, Math.min(idle, instance.keptSessions));
  };
  const applications = pool.applications.map((application) => ({
    ...application,
    instances: application.instances.map(shown),
  }));
  const active = applications.flatMap(({ instances }) => instances.filter(isActive)).length;
  return { ...pool, applications, active };
}

/** Whether it is in the pool and has a session. */
function isActive({ state, sessions }: InspectedInstance): boolean {
  return sessions > 0 && (state === "active" || state === "busy");
}

function busyWith(instance: InspectedInstance, idle: number): InspectedInstance {
  const { state, closing, longSessions, concurrency } = instance;
  if (idle === 0 || (state !== "active" && state !== "busy")) return instance;
  const sessions = instance.sessions - idle;
  const keptSessions = instance.keptSessions - idle;
  const oldestSessionMs = sessions === 0 ? null : instance.oldestSessionMs;
  const shown = { ...instance, sessions, keptSessions, oldestSessionMs };
  if (sessions + closing === 0) return { ...shown, state: "idle" };
  const isFull = sessions - longSessions + closing >= concurrency;
  return { ...shown, state: isFull ? "busy" : "active" };
}
