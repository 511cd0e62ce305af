/** What people see as one character: an emoji with its variation, a letter with its accents. */
const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Characters that take two cells: emoji, and the scripts of East Asia with their punctuation and full-width forms. */
const wide =
  /\p{Emoji_Presentation}|\uFE0F|[\u1100-\u115F\u2E80-\u303E\u3041-\uA4CF\uA960-\uA97F\uAC00-\uD7A3\uF900-\uFAFF\uFE10-\uFE19\uFE30-\uFE6F\uFF01-\uFF60\uFFE0-\uFFE6\u{17000}-\u{18DFF}\u{1B000}-\u{1B2FF}\u{20000}-\u{3FFFD}]/u;

/** Characters that stand on or beside another one and take no cell. */
const withoutWidth = /^[\p{Mn}\p{Me}\p{Cc}\p{Cf}]+$/u;

/** How many cells of a terminal a text takes that holds nothing to steer it. */
export function displayWidth(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += cells(segment);
  return width;
}

/** The text, filled up with spaces to so many cells. */
export function padTo(width: number, text: string): string {
  return text + " ".repeat(Math.max(0, width - displayWidth(text)));
}

/** The text, with an ellipsis in place of what does not fit into so many cells. */
export function cutTo(width: number, text: string, ellipsis: string = "…"): string {
  if (displayWidth(text) <= width) return text;
  let cut = "";
  let left = width - displayWidth(ellipsis);
  for (const { segment } of segmenter.segment(text)) {
    left -= cells(segment);
    if (left < 0) break;
    cut += segment;
  }
  return cut + ellipsis;
}

function cells(segment: string): number {
  if (wide.test(segment)) return 2;
  return withoutWidth.test(segment) ? 0 : 1;
}
