/** The media types that the client accepts, the best first. */
export declare function accepts(request: Pick<Request, "headers">): string[];
/** The one of `types` that the client likes best, or `undefined`. */
export declare function accepts(
  request: Pick<Request, "headers">,
  ...types: string[]
): string | undefined;

/** The encodings that the client accepts, the best first. */
export declare function acceptsEncodings(request: Pick<Request, "headers">): string[];
/** The one of `encodings` that the client likes best, or `undefined`. */
export declare function acceptsEncodings(
  request: Pick<Request, "headers">,
  ...encodings: string[]
): string | undefined;
