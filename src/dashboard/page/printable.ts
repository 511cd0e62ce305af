const mostShown = 160;

/** Text from elsewhere, such as an id: what cannot be seen or turns the text around it is written out. */
export function printable(text: string): string {
  const cut = text.length > mostShown ? `${text.slice(0, mostShown)}…` : text;
  return cut.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
