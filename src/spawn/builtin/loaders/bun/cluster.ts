/**
 * Programs that would serve by workers of node:cluster. Runs inside instances. Bun's cluster gives
 * workers ports of their own, no sessions: so this process is told that it is a worker, the only
 * one. What listens runs here, what forks does not run. To load node:cluster takes milliseconds,
 * which most programs never do: its object is noticed when it comes to be, as that event emitter
 * on which `isPrimary` is set.
 */
interface Cluster {
  isPrimary: boolean;
  isMaster: boolean;
  isWorker: boolean;
  worker?: object;
}

/** To be called before the program is loaded. */
export function beWorkerOfCluster(): void {
  const emitters = Object.getPrototypeOf(Object.getPrototypeOf(process)) as object;
  Object.defineProperty(emitters, "isPrimary", {
    configurable: true,
    get: () => undefined,
    set(this: Cluster, value: unknown) {
      const attributes = { configurable: true, enumerable: true, writable: true };
      const isCluster = value === true && Object.hasOwn(this, "isMaster") && !this.isWorker;
      Object.defineProperty(this, "isPrimary", { value: isCluster ? false : value, ...attributes });
      if (!isCluster) return;
      Reflect.deleteProperty(emitters, "isPrimary");
      becomeWorker(this);
    },
  });
}

/** Nobody hears it: the first process of the program is not there. */
function send(): boolean {
  return true;
}

function becomeWorker(cluster: Cluster): void {
  cluster.isMaster = false;
  cluster.isWorker = true;
  Object.assign(process, { send });
  const facts = { id: 1, process, send, isConnected: () => true, isDead: () => false };
  const Emitter = cluster.constructor as new () => object;
  cluster.worker = Object.assign(new Emitter(), facts);
  const text = "node:cluster: the program is its only worker here; `instances` has several\n";
  process.getBuiltinModule("node:fs").writeSync(2, text);
}
