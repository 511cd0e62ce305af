import { badOption } from "../errors.ts";

/** Throws `BAD_OPTION` unless it is an object with these fields alone: one misspelt must not be passed over. */
export function checkOptions(options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null) throw badOption("options", "an object", options);
  for (const field of Object.keys(options)) {
    if (!known.includes(field)) throw badOption("options", "without unknown fields", field);
  }
}

/** Throws `BAD_OPTION` unless the value is one of the choices. */
export function checkChoice(field: string, value: unknown, choices: readonly string[]): void {
  if (choices.some((choice) => choice === value)) return;
  throw badOption(field, choices.map((choice) => JSON.stringify(choice)).join(" or "), value);
}
