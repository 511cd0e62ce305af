import { writeSync } from "node:fs";

/** Where text goes; a terminal has a size. */
type Stream = NodeJS.WritableStream & Partial<Pick<NodeJS.WriteStream, "isTTY" | "columns">>;

/** What a terminal can show. */
export interface Looks {
  /** Whether lines may be drawn over: standard output is a terminal. */
  readonly live: boolean;
  readonly colour: boolean;
  readonly unicode: boolean;
  readonly columns: number;
}

const up = (lines: number): string => (lines === 0 ? "\r" : `\x1b[${lines}A\r`);
const clearLine = "\x1b[K";
const clearBelow = "\x1b[J";
const hideCursor = "\x1b[?25l";
const showCursor = "\x1b[?25h";

/**
 * The only way out: results to standard output, messages to standard error. On a terminal a footer can stand below
 * everything printed and be redrawn in place.
 */
export class Output {
  readonly #env: NodeJS.ProcessEnv;
  readonly #stdout: Stream;
  readonly #stderr: Stream;
  #footer: readonly string[] = [];
  #cursorHidden = false;
  /** Called when nobody reads standard output any more. */
  onBroken: () => void = () => {};

  constructor(env: NodeJS.ProcessEnv, stdout: Stream = process.stdout, stderr: Stream = process.stderr) {
    this.#env = env;
    this.#stdout = stdout;
    this.#stderr = stderr;
    stdout.on("error", () => this.onBroken());
    // Whoever closed standard error does not want to know.
    stderr.on("error", () => {});
    stdout.on("resize", () => this.#redraw("", this.#footer));
  }

  get looks(): Looks {
    const { NO_COLOR: noColour = "", TERM: term = "", LC_ALL, LC_CTYPE, LANG } = this.#env;
    const live = this.#stdout.isTTY === true && term !== "dumb";
    const locale = LC_ALL || LC_CTYPE || LANG || "";
    return {
      live,
      colour: live && noColour === "",
      unicode: /utf-?8/i.test(locale) || process.platform === "darwin",
      columns: this.#stdout.columns ?? 80,
    };
  }

  /** A line of the result. */
  print(line: string): void {
    if (this.#footer.length === 0) this.#stdout.write(`${line}\n`);
    else this.#redraw(`${line}${clearLine}\n`, this.#footer);
  }

  /** One JSON object as a line: whole numbers of any size as numbers. */
  json(value: object): void {
    this.print(
      JSON.stringify(value, (_key, each: unknown) => (typeof each === "bigint" ? Number(each) : each)),
    );
  }

  /** A message for people. */
  say(line: string): void {
    const footer = this.#footer;
    this.#redraw("", []);
    this.#stderr.write(`${line}\n`);
    this.#redraw("", footer);
  }

  /** Shows lines below everything else, in place of those shown before. Only where output is `live`. */
  footer(lines: readonly string[]): void {
    this.#redraw("", lines);
  }

  /** Waits until what was written has been taken, but not for a reader who has stopped reading. */
  flush(timeoutMs: number = 500): Promise<void> {
    const written = Promise.all(
      [this.#stdout, this.#stderr].map(
        (stream) => new Promise<void>((resolve) => stream.write("", () => resolve())),
      ),
    );
    return Promise.race([
      written.then(() => {}),
      new Promise<void>((resolve) => setTimeout(resolve, timeoutMs).unref()),
    ]);
  }

  /** In one write, and without clearing what is drawn over: nothing flickers. */
  #redraw(above: string, footer: readonly string[]): void {
    if (this.#footer.length === 0 && footer.length === 0) {
      if (above !== "") this.#stdout.write(above);
      return;
    }
    const { columns } = this.looks;
    const drawn = footer.map((line) => `${cutTo(columns, line)}${clearLine}\n`).join("");
    this.#stdout.write(
      `${this.#cursorHidden ? "" : hideCursor}${up(this.#footer.length)}${above}${drawn}${clearBelow}`,
    );
    this.#cursorHidden = true;
    this.#footer = footer;
  }

  /** Must be called before the process ends, however it ends. */
  leaveTerminal(): void {
    if (!this.#cursorHidden) return;
    this.#cursorHidden = false;
    try {
      writeSync(1, showCursor);
    } catch {
      // The terminal is gone.
    }
  }
}

/** Cuts a line that a terminal would wrap; its colours, which take no room, stay whole. */
function cutTo(columns: number, line: string): string {
  let shown = 0;
  let inColour = false;
  let cut = "";
  for (const character of line) {
    if (character === "\x1b") inColour = true;
    if (inColour || shown < columns - 1) cut += character;
    if (!inColour) shown++;
    if (character === "m") inColour = false;
  }
  return cut;
}

/** Text from elsewhere, such as an id, so that it cannot steer a terminal or break a line. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
