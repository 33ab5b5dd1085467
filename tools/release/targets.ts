/**
 * Platforms of the executables, and how to tell an executable's platform from its first bytes.
 *
 * @module
 */

/** A platform of `deno compile`. */
export interface Target {
  /** Image of GitHub's runners on which the executable is tried. */
  readonly runner: string;
  /** Offset and bytes of the header that only executables for this platform have. */
  readonly format: Format;
  /** Architecture in the words of Debian, if there are packages for it. */
  readonly arch?: "amd64" | "arm64";
}

type Format = "ELF x86-64" | "ELF ARM64" | "Mach-O x86-64" | "Mach-O ARM64" | "PE x86-64";

/** Platforms by the name that `deno compile --target` takes. */
export const TARGETS: Readonly<Record<string, Target>> = {
  "x86_64-unknown-linux-gnu": { runner: "ubuntu-24.04", format: "ELF x86-64", arch: "amd64" },
  "aarch64-unknown-linux-gnu": { runner: "ubuntu-24.04-arm", format: "ELF ARM64", arch: "arm64" },
  "x86_64-apple-darwin": { runner: "macos-15-intel", format: "Mach-O x86-64" },
  "aarch64-apple-darwin": { runner: "macos-15", format: "Mach-O ARM64" },
  "x86_64-pc-windows-msvc": { runner: "windows-2025", format: "PE x86-64" },
};

/** Platform of this machine. */
export const HOST = Deno.build.target;

/** Returns the file name of an executable. */
export function executableName(target: string): string {
  return target.includes("windows") ? "ollama-exporter.exe" : "ollama-exporter";
}

/** Bytes of a header that are read. */
const HEADER_BYTES = 4096;

/**
 * Returns the format of an executable: e_machine of ELF, cputype of Mach-O, Machine of PE.
 *
 * @returns `undefined` for another format.
 */
export async function formatOf(path: string): Promise<Format | undefined> {
  using file = await Deno.open(path);
  const bytes = new Uint8Array(HEADER_BYTES);
  await file.read(bytes);
  const view = new DataView(bytes.buffer);
  const machines: Record<number, Format> = {};
  switch (view.getUint32(0)) {
    case 0x7f454c46:
      Object.assign(machines, { 0x3e: "ELF x86-64", 0xb7: "ELF ARM64" });
      return machines[view.getUint16(18, true)];
    case 0xcffaedfe:
      Object.assign(machines, { 0x01000007: "Mach-O x86-64", 0x0100000c: "Mach-O ARM64" });
      return machines[view.getUint32(4, true)];
  }
  if (view.getUint16(0) !== 0x4d5a) return undefined;
  const header = view.getUint32(0x3c, true);
  return header < HEADER_BYTES - 6 && view.getUint16(header + 4, true) === 0x8664 ? "PE x86-64" : undefined;
}
