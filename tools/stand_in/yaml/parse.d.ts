/** Options of {@linkcode parse}. */
export interface ParseOptions {
  /** Whether a key may come twice, the last being taken. Default: `false`. */
  allowDuplicateKeys?: boolean;
  /** Called for each warning. */
  onWarning?(error: Error): void;
  /** The set of types that are known. Default: `default`. */
  schema?: "core" | "default" | "failsafe" | "json" | "extended";
}

/** The value of one YAML document. */
export declare function parse(content: string, options?: ParseOptions): unknown;
