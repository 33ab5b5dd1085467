/**
 * Prints the section of CHANGELOG.md for a version:
 *
 *     deno run --allow-read=CHANGELOG.md tools/release_notes.ts 1.2.3
 *
 * @module
 */

/**
 * Returns the section of a version, without its heading.
 *
 * @throws {Error} If the section is missing or empty.
 */
export function releaseNotes(changelog: string, version: string): string {
  const sections = changelog.split(/^## /m).slice(1);
  const section = sections.find((section) => section.split(/\s/, 1)[0] === version);
  const notes = section?.slice(section.indexOf("\n")).trim();
  if (!notes) throw new Error(`CHANGELOG.md has no section "## ${version}", or an empty one`);
  return notes;
}

if (import.meta.main) {
  const [version = ""] = Deno.args;
  const notes = releaseNotes(await Deno.readTextFile("CHANGELOG.md"), version);
  await Deno.stdout.write(new TextEncoder().encode(`${notes}\n`));
}
