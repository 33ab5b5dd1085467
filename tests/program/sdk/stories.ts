/**
 * What the stories of all clients share.
 *
 * @module
 */

/** One use of a client against a server, and what came of it: a value that JSON can tell. */
export type Story = (url: string) => Promise<unknown>;

/** Stories by their names. */
export type Stories = Readonly<Record<string, Story>>;

/** Header by which the fake Ollama knows that an answer with tool calls is wanted. */
export const TOOLS_HEADER = { "x-fake-ollama": "tools" };
/** Header by which it knows that tools are to be called in every other answer. */
export const AGENT_HEADER = { "x-fake-ollama": "agent" };

/** The model that all stories use, except for vectors. */
export const MODEL = "llama3.2";
/** The model for vectors. */
export const EMBEDDER = "nomic-embed-text";
/** What the user says. */
export const MESSAGES = [{
  role: "user" as const,
  content: "What time is it?",
}];

/** Everything that comes of a stream. */
export async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** What a client throws, as far as its users see it. */
export async function errorOf(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return { unexpected: await call() };
  } catch (error) {
    if (!(error instanceof Error)) return { thrown: String(error) };
    const { name, message, ...rest } = error as Error & Record<string, unknown>;
    return {
      name,
      message,
      status: rest["status"] ?? rest["status_code"],
      error: rest["error"],
    };
  }
}
