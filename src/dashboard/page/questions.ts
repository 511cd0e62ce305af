import type { OverviewMessage } from "../messages.ts";
import { element } from "./element.ts";
import { printable } from "./printable.ts";
import { ask, field } from "./question.ts";
import type { Steering } from "./steering.ts";
import { duration } from "./times.ts";
import type { Words } from "./words.ts";

/** What the questions have to work with. */
export interface Desk {
  readonly words: Words;
  readonly steering: Steering;
  /** Tells what was done. */
  done(text: string): void;
}

const minuteMs = 60_000;
const pauseChoices = [5 * minuteMs, 15 * minuteMs, 60 * minuteMs, 240 * minuteMs, 1_440 * minuteMs] as const;
const mostReason = 500;
const mostName = 100;

/** Asks for the token; `then` goes on with what it was wanted for. */
export function askForToken({ words, steering, done }: Desk, then: () => void = () => {}): void {
  const input = element("input", {
    type: "password",
    autocomplete: "off",
    required: "",
    spellcheck: "false",
  });
  ask(
    {
      ...{ title: words.unlockTitle, help: words.unlockHelp, confirm: words.unlock },
      fields: [field(words.tokenLabel, input)],
      act: async () => {
        const token = input.value.trim();
        // A header cannot carry anything else, so it cannot be the right one.
        if (!/^[\x21-\x7e]+$/.test(token)) return words.tokenWrong;
        await steering.unlock(token);
        setTimeout(then);
        return undefined;
      },
    },
    words,
    done,
  );
}

export function askForHandover({ words, steering, done }: Desk, overview: OverviewMessage): void {
  const { election, leader, line } = overview;
  if (leader === null) return;
  const [, next, ...others] = line;
  const choice = element(
    "select",
    {},
    ...(next === undefined ? [] : [element("option", { value: "" }, words.nextInLine(printable(next.id)))]),
    ...others.map(({ id, key, zone }) => {
      const text = zone === undefined ? printable(id) : `${printable(id)} · ${printable(zone)}`;
      return element("option", { value: key }, text);
    }),
  );
  ask(
    {
      title: words.handOverTitle,
      help: words.handOverHelp(printable(leader.id)),
      fields: [field(words.handOverTo, choice)],
      ...{ confirm: words.handOverTitle, grave: true },
      act: async () => {
        const to = choice.value === "" ? {} : { to: choice.value };
        const { leader: now, durationMs } = await steering.ask("handover", {
          ...{ election, token: leader.token, ...to },
        });
        done(words.handOverDone(printable(String(now)), duration(Number(durationMs), words.units)));
        return undefined;
      },
    },
    words,
    done,
  );
}

export function askForPause({ words, steering, done }: Desk, { election }: OverviewMessage): void {
  const reason = element("input", { type: "text", maxlength: `${mostReason}`, autocomplete: "off" });
  const by = element("input", { type: "text", maxlength: `${mostName}`, autocomplete: "name" });
  const lasts = element(
    "select",
    {},
    ...pauseChoices.map((ms) => element("option", { value: `${ms}` }, duration(ms, words.units))),
    element("option", { value: "" }, words.untilResumed),
  );
  // An hour is what most maintenance takes; a pause that is forgotten must end by itself.
  lasts.value = `${60 * minuteMs}`;
  ask(
    {
      ...{ title: words.pauseTitle, help: words.pauseHelp, confirm: words.pauseTitle },
      fields: [field(words.reason, reason), field(words.lasts, lasts), field(words.yourName, by)],
      act: async () => {
        if (reason.value.trim() === "") {
          reason.focus();
          return words.reasonMissing;
        }
        await steering.ask("pause", {
          ...{ election, reason: reason.value.trim() },
          ...(lasts.value === "" ? {} : { forMs: Number(lasts.value) }),
          ...(by.value.trim() === "" ? {} : { by: by.value.trim() }),
        });
        done(words.pauseDone);
        return undefined;
      },
    },
    words,
    done,
  );
}

export function askForResume({ words, steering, done }: Desk, { election }: OverviewMessage): void {
  ask(
    {
      ...{ title: words.resumeTitle, help: words.resumeHelp, confirm: words.resumeTitle },
      act: async () => {
        await steering.ask("resume", { election });
        done(words.resumeDone);
        return undefined;
      },
    },
    words,
    done,
  );
}
