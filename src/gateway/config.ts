/**
 * What the gateway is configured with: values only, checked and complete, every default filled in.
 * They come from the command line or a TOML file (cli/), and go to the supervisor and its workers.
 */
import type { AppType, SpawnMethod } from "../wire/app-request.ts";
import type { InstanceOptions } from "../wire/configure.ts";
import type { OutputPlace } from "../wire/output-place.ts";

/** Where requests are accepted. Sockets that systemd passes take the place of all of them. */
export type ListenAddress =
  | {
      readonly kind: "tcp";
      /** An IP address in numbers. */
      readonly host: string;
      /** 0 picks one. */
      readonly port: number;
      readonly tls: boolean;
    }
  | {
      readonly kind: "unix";
      /** Absolute. */
      readonly path: string;
      /** Permissions of the socket's file. */
      readonly mode: number;
    };

/** A directory whose files are sent without asking the application. */
export interface FilePlace {
  /** Below the application's prefix, decoded: `/`, or `/media` without a slash at its end. */
  readonly path: string;
  /** Absolute. */
  readonly directory: string;
  /** Links on the way to it may not lead out of this directory above it; absent: anywhere. */
  readonly within?: string;
}

export interface AppConfig {
  /** How logs call it; unique. */
  readonly name: string;
  /** Absolute. */
  readonly root: string;
  /** Lower case, exact or `*.example.com`; none: every host. */
  readonly hosts: readonly string[];
  /** `/`, or `/shop`: without a slash at its end. */
  readonly prefix: string;
  /** `static`: only files, and no process. */
  readonly type: AppType | "static";
  readonly environment: string;
  readonly spawnMethod: SpawnMethod;
  /** How its processes are made, how many there may be, and what they may take. */
  readonly options: InstanceOptions;
  /** By what visitors go on with the process they had. */
  readonly sticky: "cookie" | "address" | "off";
  /** How long a process may be at a request before that is said; absent: any time. */
  readonly slowRequestMs?: number;
  /** Longest paths first; `public/` among them, if it is served. */
  readonly files: readonly FilePlace[];
  /** Whether a request's body is whole before an instance is asked for. */
  readonly bufferRequests: boolean;
  /** Whether an answer is taken as fast as the instance gives it, however slow its visitor is. */
  readonly bufferAnswers: boolean;
  /** Whether visitors see why it could not be started. */
  readonly showErrors: boolean;
  /** Where its output goes; undefined: with that of all others. */
  readonly log?: OutputPlace | undefined;
}

/**
 * In PEM form, as read with the configuration: workers start with what has been found good,
 * whatever has become of the files.
 */
export interface CertificateConfig {
  /** Lower case, exact or `*.example.com`; each in one certificate only. */
  readonly hosts: readonly string[];
  readonly certificate: string;
  readonly key: string;
}

export interface TlsConfig {
  /** At least one; the first is for visitors whose host is in none, too. */
  readonly certificates: readonly CertificateConfig[];
  /** The port to which requests without TLS are sent; undefined: they are served. */
  readonly redirectPort: number | undefined;
  /** Strict-Transport-Security of answers over TLS. */
  readonly strictTransport: string | undefined;
}

/** Bounds on what visitors may ask for; times in milliseconds, 0: no limit. */
interface RequestLimits {
  readonly maxHeaderBytes: number;
  readonly maxBodyBytes: number;
  /** From the first byte of a request's head to its last. */
  readonly headMs: number;
  /** Between requests, between the parts of one, and between those of an answer that are taken. */
  readonly idleMs: number;
  /** A request that waits longer for an instance is answered 503. */
  readonly queueMs: number;
  /** An application that takes longer to begin its answer: 504. */
  readonly responseMs: number;
}

export interface PoolConfig {
  readonly max: number;
  /** 0: no limit. */
  readonly maxPerApp: number;
  readonly maxIdleSeconds: number;
  /** Most requests of each application that may wait, unless it says otherwise; 0: no limit. */
  readonly maxQueue: number;
  /**
   * Whether requests wait for whichever process becomes free, rather than each for a busy one;
   * else no limit on waiting holds for applications that have processes.
   */
  readonly globalQueue: boolean;
}

/** What a line of the access log is: one of ours, or with fields of one's own. */
export type AccessForm =
  "common" | "json" | "off" | { readonly format: string } | { readonly fields: readonly string[] };

export interface GatewayConfig {
  /** How commands call this gateway, where several run; empty: by its process alone. */
  readonly name: string;
  readonly listen: readonly ListenAddress[];
  readonly tls: TlsConfig | undefined;
  /** Where figures and the dashboard are: of this machine only. Undefined: nowhere. */
  readonly admin: ListenAddress | undefined;
  readonly workers: number;
  /** Whom workers run as, if the gateway is root; undefined: as it is. */
  readonly workerUser: string | undefined;
  /** In any order; names are unique. */
  readonly apps: readonly AppConfig[];
  readonly limits: RequestLimits;
  readonly pool: PoolConfig;
  /** Addresses or CIDR ranges of proxies whose X-Forwarded-* headers are believed. */
  readonly trustedProxies: readonly string[];
  readonly accessLog: AccessForm;
  /** Undefined: stdout. */
  readonly accessLogFile: string | undefined;
  /** How long requests under way may take when the gateway ends. */
  readonly drainMs: number;
  /** How long a worker or the pool server may be silent; then it is ended. 0: for ever. */
  readonly silenceMs: number;
  /** How long connections of other protocols (WebSockets) stay after a reload. */
  readonly upgradedMs: number;
  /** Of the pool server and of our own log, as LOGLEVEL. */
  readonly logLevel: number;
  readonly logFormat: "text" | "json";
}
