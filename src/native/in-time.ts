/**
 * The value, if it comes within so many milliseconds (or Infinity); else what `late` returns or
 * throws. The value itself may still come: nobody hears of it then.
 */
export async function inTime<Value, Late>(
  value: Promise<Value>,
  limitMs: number,
  late: () => Late,
): Promise<Value | Late> {
  if (limitMs === Infinity) return await value;
  const { promise, resolve } = Promise.withResolvers<() => Late>();
  const timer = setTimeout(resolve, limitMs, late);
  try {
    const first = await Promise.race([value, promise]);
    return first === late ? late() : (first as Value);
  } finally {
    clearTimeout(timer);
  }
}
