// Numbers and times as people read them. Pure.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** The power of 1024 in which `bytes` is best said, as an index into the units. */
export function magnitude(bytes) {
  if (!(bytes >= 1024)) return 0;
  return Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
}

/** Bytes with three significant digits at most, in the unit of `power`. */
export function bytes(value, power = magnitude(value)) {
  if (!Number.isFinite(value)) return "–";
  const scaled = value / 1024 ** power;
  const digits = power === 0 || scaled >= 100 || Number.isInteger(scaled) ? 0 : scaled >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)} ${UNITS[power]}`;
}

export const perSecond = (value, power) => (Number.isFinite(value) ? `${bytes(value, power)}/s` : "–");

export const percent = (value, digits = 1) => (Number.isFinite(value) ? `${value.toFixed(digits)} %` : "–");

export const count = (value) => value.toLocaleString("en-GB");

export const plural = (value, one, many) => `${count(value)} ${value === 1 ? one : many}`;

/** Local wall-clock time, 24 hours. */
export const clock = (milliseconds) => new Date(milliseconds).toLocaleTimeString("en-GB");

/** The same, with the day where that is not today's. */
export function moment(milliseconds, now = Date.now()) {
  const day = (time) => new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
  return day(milliseconds) === day(now) ? clock(milliseconds) : `${day(milliseconds)}, ${clock(milliseconds)}`;
}

/** The smallest of 1, 2, 5 × 10^n at or above `value`. */
export function niceCeiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((candidate) => candidate * power >= value * (1 - 1e-9));
  return step * power;
}

/** The top of an axis for byte rates up to `most`: a nice number of its unit, and never less than 1 KiB. */
export function byteCeiling(most) {
  const floor = Math.max(most, 1024);
  const unit = 1024 ** magnitude(floor);
  const top = niceCeiling(floor / unit);
  return top > 512 ? unit * 1024 : top * unit;
}

/** A value on such an axis: no digits that say nothing. */
export function byteTick(value) {
  if (value === 0) return "0";
  const power = magnitude(value);
  return `${Number((value / 1024 ** power).toFixed(2))} ${UNITS[power]}/s`;
}

/** The seconds since 1970 of a position's cluster time, its upper 32 bits (PROTOCOL 1); null where it is none. */
export function positionSeconds(position) {
  if (typeof position !== "string" || !/^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{16}$/.test(position)) return null;
  return parseInt(position.slice(9, 17), 16);
}
