/**
 * Waiting for a descriptor without reading it, which Bun's event loop cannot do: the kernel sends
 * SIGIO when the description becomes readable, writable or hangs up (fcntl(2) F_SETOWN, O_ASYNC).
 *
 * Rules: the handler is there before the first O_ASYNC and stays for good, since the default action
 * of SIGIO ends the process. Signals merge and do not say which descriptor they are about: every
 * waker is called, and has to look. Only for descriptions that nobody else shares. A waker that
 * must not miss anything looks from time to time as well.
 */
import { enableSigio } from "./fd.ts";

const wakers = new Set<() => void>();
let installed = false;

/**
 * Calls `wake` whenever something may have changed on the descriptor, which becomes non-blocking.
 * @returns how to stop; closing the descriptor alone does not free the waker.
 */
export function watchSigio(fd: number, wake: () => void): () => void {
  if (!installed) {
    installed = true;
    process.on("SIGIO", () => {
      for (const waker of wakers) waker();
    });
  }
  wakers.add(wake);
  try {
    enableSigio(fd);
  } catch (error) {
    wakers.delete(wake);
    throw error;
  }
  return () => void wakers.delete(wake);
}
