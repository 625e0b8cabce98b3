/**
 * What the visits of one worker share: the configuration, who is trusted, where requests lead, the
 * way to the pool server, what may be kept of bodies, and who is told when something is over.
 */
import { type Refusal, rule } from "../../http/refusals.ts";
import type { RequestHead } from "../../http/request-head.ts";
import type { RequestFields } from "../files/conditions.ts";
import type { AppConfig, GatewayConfig } from "../config.ts";
import { bodyTooLarge } from "../policy/failures.ts";
import type { PoolLink } from "./pool-link.ts";
import { RequestCounts } from "./request-counts.ts";
import { Router } from "../policy/router.ts";
import { SpoolAccount } from "../bodies/spool-ledger.ts";
import { StaticFiles } from "../files/static-files.ts";
import { TrustedProxies } from "../policy/trusted-proxies.ts";
import type { VisitRecord } from "./visit-record.ts";
import type { OutgoingSpool } from "../bodies/outgoing.ts";
import { Upload } from "../bodies/upload.ts";
import type { Visitor } from "./visitor.ts";

/** An answer that a visitor does not take is kept up to this; past it the application waits. */
const maxAnswerBytes = 1024 * 1024 * 1024;
/** For bodies of all visitors of a worker: in memory, and in files. */
const maxMemoryBytes = 64 * 1024 * 1024;
const maxDiskBytes = 16 * 1024 * 1024 * 1024;

/** Where sessions come from; PoolLink is one. */
type SessionSource = Pick<PoolLink, "take" | "leave" | "isClosed">;

/** A request that an instance has been at for longer than `slow_request`. */
interface SlowRequest {
  readonly id: string;
  readonly app: AppConfig;
  /** Method and path. */
  readonly request: string;
  /** How long the instance has had it. */
  readonly ms: number;
  /** How long it waited before. */
  readonly queueMs: number;
  readonly pid: number;
}

export interface SiteOptions {
  readonly config: GatewayConfig;
  readonly link: SessionSource;
  /** Once for every request, when its answer is over. */
  readonly onDone: (visit: VisitRecord, fields: RequestFields) => void;
  /** Why a visitor is answered with an error. Without a visit: a mistake of ours. */
  readonly onFailure: (error: unknown, visit: VisitRecord | undefined) => void;
  /** Once for a request, while it is under way. */
  readonly onSlow?: (slow: SlowRequest) => void;
  /** Once for an application in development: a page is missing below its prefix. */
  readonly onMissing?: (app: AppConfig, path: string) => void;
}

export class Site {
  readonly config: GatewayConfig;
  readonly link: SessionSource;
  readonly router: Router;
  readonly files = new StaticFiles();
  readonly answerSpool: OutgoingSpool;
  readonly counts = new RequestCounts();
  /** A connection is gone. */
  onLeft: (visitor: Visitor) => void = () => {};
  /** Whether each connection ends with the answer at hand. */
  isDraining = false;
  readonly notServed = rule(404, "nothing is served here");
  readonly tooSlow = rule(408, "the request did not come in time");
  readonly tooManyHeaders = rule(431, "its headers are more than applications take");
  readonly #tooLarge = rule(bodyTooLarge.status, bodyTooLarge.reason);
  readonly options: SiteOptions;
  readonly trusted: TrustedProxies;
  readonly #wondered = new Set<AppConfig>();
  readonly #account = new SpoolAccount(maxMemoryBytes, maxDiskBytes);

  /** @throws RangeError when the configuration holds no address where one must be. */
  constructor(options: SiteOptions) {
    this.options = options;
    this.config = options.config;
    this.link = options.link;
    this.router = new Router(options.config.apps);
    this.trusted = new TrustedProxies(options.config.trustedProxies);
    this.answerSpool = { account: this.#account, maxBytes: maxAnswerBytes };
  }

  /** Its requests that may wait in this worker: each worker has its share. 0: any number. */
  maxWaitingOf({ options: { maxQueue = 0 } }: AppConfig): number {
    return Math.ceil(maxQueue / this.config.workers);
  }

  /** Why a request is refused before anybody is asked; undefined: it is not. */
  refusalOf({ framing }: RequestHead): Refusal | undefined {
    const { maxBodyBytes } = this.config.limits;
    const isTooLarge =
      maxBodyBytes > 0 && framing.kind === "length" && framing.bytes > maxBodyBytes;
    return isTooLarge ? this.#tooLarge : undefined;
  }

  /** For a body that is to come. */
  upload({ bufferRequests }: AppConfig): Upload {
    return new Upload({
      maxBytes: this.config.limits.maxBodyBytes,
      isBuffered: bufferRequests,
      spool: { account: this.#account },
    });
  }

  done(visit: VisitRecord, fields: RequestFields, nowMs: number): void {
    this.counts.over(visit, nowMs);
    this.options.onDone(visit, fields);
  }

  /** A page is missing, and the application's developer may wonder why. */
  wonders(app: AppConfig, path: string): void {
    if (this.#wondered.has(app)) return;
    this.#wondered.add(app);
    this.options.onMissing?.(app, path);
  }
}
