// Failed starts in the naive model, and the pauses they lead to.

import { KeptModel } from "./model-kept.ts";
import type { App, ModelInstance } from "./model-state.ts";

export class FailureModel extends KeptModel {
  /** An instance that ends young and unproven is a failed start. */
  protected noteEarlyEnd(instance: ModelInstance, how: string, why: string): void {
    const { app, readyAt, firstServedAt, before } = instance;
    const age = this.now - readyAt;
    if (this.options.failurePause === undefined) return;
    if (age >= 5000 || this.now - firstServedAt > 100) return;
    app.failuresInRow = Math.max(app.failuresInRow, before[0]);
    app.pauses = Math.max(app.pauses, before[1]);
    this.noteFailure(app, `it ${how} ${age} ms after it was ready${why}`, 10);
  }

  protected noteFailure(app: App, message: string, most: number): void {
    app.lastFailure = { message, at: this.now };
    app.failuresInRow++;
    const { failurePause } = this.options;
    if (failurePause === undefined || app.failuresInRow < most || this.isPaused(app)) return;
    const { firstMs, maxMs } = failurePause;
    app.pausedUntil = this.now + Math.min(firstMs * 2 ** app.pauses++, maxMs);
  }

  protected forgive(app: App): void {
    app.failuresInRow = 0;
    app.pauses = 0;
    app.pausedUntil = 0;
  }
}
