/** Types of lifeline.cjs, for the loader that is TypeScript. */

/** That so many sessions are served at once, and that the end of each is told. */
export function tellReady(concurrency: number): void;

/** Why no session will be served. */
export function tellFailure(text: string): void;

/** Another session is over for this instance. Does not wait for the server to read it. */
export function tellDone(): void;
