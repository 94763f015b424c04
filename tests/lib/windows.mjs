// windows.mjs: hours, days, weeks and periods as they are defined, reckoned slowly and without PostgreSQL: what windows are tested against.
const formats = new Map();
function format(zone) {
  if (!formats.has(zone)) formats.set(zone, new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' }));
  return formats.get(zone);
}
// The date on a wall, YYYY-MM-DD; dates are compared as texts.
export const dateOf = (zone, ms) => format(zone).format(ms);
export const plusDays = (date, n) => new Date(Date.parse(`${date}T00:00:00Z`) + n * 86400e3).toISOString().slice(0, 10);

// The first instant of a date: by the quarter of an hour, as clocks change.
export function dayStart(zone, date) {
  const noon = Date.parse(`${date}T12:00:00Z`);
  for (let ms = noon - 28 * 3600e3; ms < noon + 28 * 3600e3; ms += 900e3) if (dateOf(zone, ms) >= date) return ms;
  throw new Error(`${date} in ${zone}`);
}
const weekday = (date) => (new Date(`${date}T00:00:00Z`).getUTCDay() + 6) % 7; // 0: Monday
// The anchor day of a month (YYYY-MM), or its last day.
function anchorIn(month, anchor) {
  const [y, m] = month.split('-').map(Number), last = new Date(Date.UTC(y, m, 0)).getUTCDate();
  return `${month}-${String(Math.min(anchor, last)).padStart(2, '0')}`;
}
const monthPlus = (month, n) => { const [y, m] = month.split('-').map(Number); return new Date(Date.UTC(y, m - 1 + n, 1)).toISOString().slice(0, 7); };

// [start, end) of the window of the instant, in milliseconds.
export function windowOf(name, zone, anchor, ms) {
  const today = dateOf(zone, ms), from = dayStart(zone, today);
  if (name === 'day') return [from, dayStart(zone, plusDays(today, 1))];
  if (name === 'hour') {
    const start = from + Math.floor((ms - from) / 3600e3) * 3600e3;
    return [start, Math.min(start + 3600e3, dayStart(zone, plusDays(today, 1)))];
  }
  if (name === 'week') {
    const monday = plusDays(today, -weekday(today));
    return [dayStart(zone, monday), dayStart(zone, plusDays(monday, 7))];
  }
  let month = today.slice(0, 7);
  if (anchorIn(month, anchor) > today) month = monthPlus(month, -1);
  return [dayStart(zone, anchorIn(month, anchor)), dayStart(zone, anchorIn(monthPlus(month, 1), anchor))];
}
