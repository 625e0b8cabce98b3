/** Types of host.cjs, for the loader that is TypeScript. */
export class Host {
  constructor(concurrency: number, stopListening: () => void, tellDone: () => void);
  readonly isSerial: boolean;
  readonly isLeaving: boolean;
  leave(): void;
}
