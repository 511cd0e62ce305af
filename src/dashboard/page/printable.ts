const mostShown = 160;

/** Text from elsewhere, such as an id: what cannot be seen or turns the text around it is written out. */
export function printable(text: string, most: number = mostShown): string {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  return cut.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
