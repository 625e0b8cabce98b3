/**
 * How the parts of the gateway say what happened: an event for the log, which is made elsewhere.
 */

/** 0 is a warning, 1 a notable event, more is detail: as LOGLEVEL. */
export type Report = (
  level: 0 | 1 | 2 | 3 | 4,
  event: string,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void;
