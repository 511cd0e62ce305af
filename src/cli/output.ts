import { writeSync } from "node:fs";
import { cutTo, displayWidth } from "./display-width.ts";

/** Where text goes; a terminal has a size. */
type Stream = NodeJS.WritableStream & Partial<Pick<NodeJS.WriteStream, "isTTY" | "columns" | "rows">>;

/** What a terminal can show. */
export interface Looks {
  /** Whether lines may be drawn over: standard output is a terminal. */
  readonly live: boolean;
  readonly colour: boolean;
  readonly unicode: boolean;
  readonly columns: number;
  readonly rows: number;
}

const up = (lines: number): string => (lines === 0 ? "\r" : `\x1b[${lines}A\r`);
const clearLine = "\x1b[K";
const clearBelow = "\x1b[J";
const hideCursor = "\x1b[?25l";
const showCursor = "\x1b[?25h";
/** The terminal's other screen, on which nothing wraps: a width that was misjudged must not spoil the rest. */
const enterScreen = "\x1b[?1049h\x1b[?7l";
const leaveScreen = "\x1b[?7h\x1b[?1049l";
const home = "\x1b[H";
/** What is said while the whole screen is taken comes after it, the latest of it. */
const mostHeld = 20;

/**
 * The only way out: results to standard output, messages to standard error. On a terminal a footer can stand below
 * everything printed and be redrawn in place, or the whole screen be taken, which comes back as it was.
 */
export class Output {
  readonly #env: NodeJS.ProcessEnv;
  readonly #stdout: Stream;
  readonly #stderr: Stream;
  #footer: readonly string[] = [];
  #cursorHidden = false;
  /** Whether the whole screen is taken, and what was said meanwhile. */
  #onScreen = false;
  #held: string[] = [];
  /** Called when the terminal has another size. */
  onResized: () => void = () => {};
  /** Called when nobody reads standard output any more. */
  onBroken: () => void = () => {};

  constructor(env: NodeJS.ProcessEnv, stdout: Stream = process.stdout, stderr: Stream = process.stderr) {
    this.#env = env;
    this.#stdout = stdout;
    this.#stderr = stderr;
    stdout.on("error", () => this.onBroken());
    // Whoever closed standard error does not want to know.
    stderr.on("error", () => {});
    stdout.on("resize", () => {
      this.#redraw("", this.#footer);
      this.onResized();
    });
  }

  get looks(): Looks {
    const { NO_COLOR: noColour = "", TERM: term = "", LC_ALL, LC_CTYPE, LANG } = this.#env;
    const live = this.#stdout.isTTY === true && term !== "dumb";
    const locale = LC_ALL || LC_CTYPE || LANG || "";
    return {
      live,
      colour: live && noColour === "",
      unicode: /utf-?8/i.test(locale) || process.platform === "darwin",
      // A terminal that does not know its size says 0.
      columns: this.#stdout.columns || 80,
      rows: this.#stdout.rows || 24,
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
    if (this.#onScreen) {
      this.#held = [...this.#held, line].slice(-mostHeld);
      return;
    }
    const footer = this.#footer;
    this.#redraw("", []);
    this.#stderr.write(`${line}\n`);
    this.#redraw("", footer);
  }

  /** Shows lines below everything else, in place of those shown before. Only where output is `live`. */
  footer(lines: readonly string[]): void {
    this.#redraw("", lines);
  }

  /** Shows lines on the whole screen, in place of those shown before. Only where output is `live`. */
  screen(lines: readonly string[]): void {
    const { columns, rows } = this.looks;
    const drawn = lines.slice(0, rows).map((line) => `${cutLine(columns, line)}${clearLine}`);
    const begin = this.#onScreen ? "" : `${enterScreen}${hideCursor}`;
    this.#onScreen = true;
    this.#cursorHidden = true;
    this.#stdout.write(`${begin}${home}${drawn.join("\r\n")}${clearBelow}`);
  }

  /** Gives the screen back, with what was said meanwhile. */
  leaveScreen(): void {
    if (this.#onScreen) this.leaveTerminal();
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
    const drawn = footer.map((line) => `${cutLine(columns, line)}${clearLine}\n`).join("");
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
    const leave = this.#onScreen ? leaveScreen : "";
    this.#onScreen = false;
    try {
      writeSync(1, `${leave}${showCursor}`);
      for (const line of this.#held.splice(0)) writeSync(2, `${line}\n`);
    } catch {
      // The terminal is gone.
    }
  }
}

/** Cuts a line that a terminal would wrap; its colours, which take no room, stay whole. */
function cutLine(columns: number, line: string): string {
  let left = columns - 1;
  const cut = (text: string): string => {
    const kept = cutTo(left, text, "");
    left -= displayWidth(kept);
    return kept;
  };
  const [plain = "", ...coloured] = line.split("\x1b[");
  const parts = coloured.map((part) => {
    const end = part.indexOf("m") + 1;
    return `\x1b[${part.slice(0, end)}${cut(part.slice(end))}`;
  });
  return `${cut(plain)}${parts.join("")}`;
}

/** Text from elsewhere, such as an id, so that it cannot steer a terminal or break a line. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
