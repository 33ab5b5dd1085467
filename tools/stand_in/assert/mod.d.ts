// deno-lint-ignore-file no-explicit-any -- as in the real package

/** What a failed assertion throws. */
export declare class AssertionError extends Error {
  constructor(message: string, options?: ErrorOptions);
}

/** Asserts that `expr` is truthy. */
export declare function assert(expr: unknown, msg?: string): asserts expr;
/** Asserts that numbers differ by no more than `tolerance` (default: a ten-millionth of `expected`). */
export declare function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void;
/** Asserts that `actual` has every element of `expected`. */
export declare function assertArrayIncludes<T>(
  actual: ArrayLike<T>,
  expected: ArrayLike<T>,
  msg?: string,
): void;
/** Asserts that two values are equal, deeply. */
export declare function assertEquals<T>(actual: T, expected: T, msg?: string): void;
/** Asserts that a value is neither null nor undefined. */
export declare function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T>;
/** Asserts that a value is falsy. */
export declare function assertFalse(expr: unknown, msg?: string): void;
/** Asserts `actual > expected`. */
export declare function assertGreater<T>(actual: T, expected: T, msg?: string): void;
/** Asserts `actual >= expected`. */
export declare function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void;
/** Asserts that `actual` is an instance of `expectedType`. */
export declare function assertInstanceOf<T extends abstract new (...args: any[]) => any>(
  actual: unknown,
  expectedType: T,
  msg?: string,
): asserts actual is InstanceType<T>;
/** Asserts that `error` is an error, of a class and with a message if these are given. */
export declare function assertIsError<E extends Error = Error>(
  error: unknown,
  ErrorClass?: abstract new (...args: any[]) => E,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E;
/** Asserts `actual < expected`. */
export declare function assertLess<T>(actual: T, expected: T, msg?: string): void;
/** Asserts `actual <= expected`. */
export declare function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void;
/** Asserts that a text matches an expression. */
export declare function assertMatch(actual: string, expected: RegExp, msg?: string): void;
/** Asserts that two values are not equal, deeply. */
export declare function assertNotEquals<T>(actual: T, expected: T, msg?: string): void;
/** Asserts that a text does not match an expression. */
export declare function assertNotMatch(actual: string, expected: RegExp, msg?: string): void;
/** Asserts that two values are not the same by `Object.is`. */
export declare function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void;
/** Asserts that an object has the fields of `expected`, with their values. */
export declare function assertObjectMatch(
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void;
/** Asserts that the promise that `fn` returns is rejected, and gives the reason. */
export declare function assertRejects(
  fn: () => PromiseLike<unknown>,
  msg?: string,
): Promise<unknown>;
/** Asserts that it is rejected with an error of a class and with a text in its message. */
export declare function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: abstract new (...args: any[]) => E,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
/** Asserts that two values are the same by `Object.is`. */
export declare function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T;
/** Asserts that a text has another within it. */
export declare function assertStringIncludes(actual: string, expected: string, msg?: string): void;
/** Asserts that `fn` throws, and gives what was thrown. */
export declare function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Asserts that it throws an error of a class and with a text in its message. */
export declare function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: abstract new (...args: any[]) => E,
  msgIncludes?: string,
  msg?: string,
): E;
/** Whether two values are equal, deeply. */
export declare function equal(a: unknown, b: unknown): boolean;
/** Fails. */
export declare function fail(msg?: string): never;
/** Fails where nobody should come. */
export declare function unreachable(msg?: string): never;
