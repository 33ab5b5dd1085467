/**
 * What archives and packages have besides the executable: man page and completions.
 *
 * @module
 */

import { completionScript } from "../lib/settings/completion.ts";
import { manPage } from "./man.ts";

/** Files of completions, by shell. zsh finds them by their name. */
const COMPLETIONS = { bash: "ollama-exporter.bash", zsh: "_ollama-exporter", fish: "ollama-exporter.fish" };

/**
 * Writes the man page and the completions into the subfolders `man` and `completions`.
 *
 * @param date Time of the files, and date of the man page.
 */
export async function writeExtras(folder: string, date: Date): Promise<void> {
  for (const name of ["man", "completions"]) await Deno.mkdir(`${folder}/${name}`);
  const write = async (path: string, text: string): Promise<void> => {
    await Deno.writeTextFile(`${folder}/${path}`, text);
    await Deno.utime(`${folder}/${path}`, date, date);
  };
  await write("man/ollama-exporter.1", manPage(date.toISOString().slice(0, 10)));
  for (const [shell, name] of Object.entries(COMPLETIONS)) {
    await write(`completions/${name}`, `${completionScript([shell])}\n`);
  }
}
