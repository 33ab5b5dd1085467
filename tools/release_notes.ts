/**
 * Prints what CHANGELOG.md says of a version:
 *
 *     deno run --allow-read=CHANGELOG.md tools/release_notes.ts 1.2.3
 *
 * @module
 */

/**
 * The section of a version, without its heading.
 *
 * @throws {Error} Where there is none, or nothing in it: a release has notes.
 */
export function releaseNotes(changelog: string, version: string): string {
  const sections = changelog.split(/^## /m).slice(1);
  const section = sections.find((section) => section.split(/\s/, 1)[0] === version);
  const notes = section?.slice(section.indexOf("\n")).trim();
  if (!notes) throw new Error(`CHANGELOG.md has no section "## ${version}" with a line in it`);
  return notes;
}

if (import.meta.main) {
  const [version = ""] = Deno.args;
  const notes = releaseNotes(await Deno.readTextFile("CHANGELOG.md"), version);
  await Deno.stdout.write(new TextEncoder().encode(`${notes}\n`));
}
