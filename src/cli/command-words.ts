/**
 * A command as one text: words between blanks, as a shell splits them. `'…'` is taken as it is; in
 * `"…"` a backslash takes its meaning from `"` and itself, outside of quotes from any character.
 * Nothing else has a meaning: there is no shell. What only a shell would understand is refused,
 * since it would reach the program as a word.
 */

const ofShells = /[|&;<>()$`\n]/;

/** @returns the words, or why there are none. */
export function commandWords(text: string): string[] | string {
  const words: string[] = [];
  // One piece of a word, or the blanks between two.
  const pattern = /\s+|'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\]+)|(.)/gsu;
  let word: string | undefined;
  for (const [piece, single, double, escaped, plain, rest] of text.matchAll(pattern)) {
    if (rest !== undefined) return `has a ${rest} without another`;
    const bare = plain ?? "";
    const odd = ofShells.exec(bare) ?? /[$`]/.exec(double ?? "");
    if (odd !== null) {
      return `holds ${odd[0]}, and no shell reads it: quote it with '…', or write sh -c '…'`;
    }
    const part = single ?? double?.replace(/\\(["\\])/g, "$1") ?? escaped ?? plain;
    if (part !== undefined) word = (word ?? "") + part;
    else if (piece.trim() === "" && word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  if (word !== undefined) words.push(word);
  return words.length === 0 ? "is empty" : words;
}
