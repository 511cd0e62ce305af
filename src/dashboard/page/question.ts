import { button, element, setText } from "./element.ts";
import { printable } from "./printable.ts";
import { Refused } from "./steering.ts";
import type { Words } from "./words.ts";

/** A refusal may name many members. */
const mostOfReason = 600;

/** What a dialog asks before something is done. */
export interface Question {
  readonly title: string;
  readonly help: string;
  readonly fields?: readonly HTMLElement[];
  readonly confirm: string;
  /** Whether it takes something away from somebody. */
  readonly grave?: boolean;
  /** Resolves to a text where the fields cannot be used as they are; rejects with `Refused` where it was refused. */
  act(): Promise<string | undefined>;
}

/**
 * Opens a dialog; it closes when the thing is done or given up. Focus goes back to where it was. What came of a thing
 * whose dialog was closed meanwhile is told by `tell`.
 */
export function ask(question: Question, words: Words, tell: (text: string) => void): void {
  const title = element("h2", { id: "question" }, question.title);
  const error = element("p", { class: "error", role: "alert" });
  const yes = element(
    "button",
    { type: "submit", class: question.grave === true ? "grave" : "main" },
    question.confirm,
  );
  const no = button(words.cancel, () => dialog.close());
  const form = element(
    "form",
    {},
    title,
    element("p", {}, question.help),
    ...(question.fields ?? []),
    error,
    element("footer", {}, no, yes),
  );
  const dialog = element("dialog", { "aria-labelledby": title.id }, form);
  const act = async (): Promise<void> => {
    yes.disabled = true;
    setText(yes, words.working);
    setText(error, "");
    try {
      const problem = await question.act();
      if (problem === undefined) dialog.close();
      else setText(error, problem);
    } catch (refused) {
      const text = refusalText(refused, words);
      if (dialog.open) setText(error, text);
      else tell(text);
    }
    yes.disabled = false;
    setText(yes, question.confirm);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!yes.disabled) void act();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** A field with its name above. */
export function field(name: string, input: HTMLElement): HTMLElement {
  return element("label", {}, element("span", {}, name), input);
}

function refusalText(error: unknown, { refused, failed, tokenWrong, serverSilent }: Words): string {
  if (!(error instanceof Refused)) return String(error);
  const { code, refusal = "", message } = error;
  if (code === "WRONG_TOKEN") return tokenWrong;
  if (code === "SERVER_SILENT") return serverSilent;
  const reason = printable(message, mostOfReason);
  return code === "REFUSED" ? refused(refusal, reason) : failed(code, reason);
}
