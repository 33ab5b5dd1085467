/** Options of {@linkcode TextLineStream}. */
export interface TextLineStreamOptions {
  /** Whether a lone `\r` ends a line too. Default: `false`. */
  allowCR?: boolean;
}

/** Divides text into lines that end with `\n` or `\r\n`. */
export declare class TextLineStream extends TransformStream<string, string> {
  constructor(options?: TextLineStreamOptions);
}
